//! Makes a restored guest unique, before the application runs again.
//!
//! Clones of one snapshot wake up with the same random state, clock, names and connections. The steps below change
//! that, in this order: randomness first, so that everything that is generated afterwards differs. All steps are
//! idempotent, as the host may ask again. If a step fails, the application stays frozen, and the host terminates the
//! microVM (fail closed). No step forks, mounts or waits.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hearth_wire::agent::{Refusal, UniqueTimes, Uniqueness};
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, DynamicClockId, Timespec};

use crate::agent::Agent;
use crate::bounds::{self, refused};
use crate::container::files;
use crate::fault::{Fault, Step};
use crate::sockets;
use crate::sys::ioctl;

const NANOSECONDS: u64 = 1_000_000_000;

/// Most attempts to set the clock until it agrees with the host's within [`CLOCK_TOLERANCE_NS`].
const CLOCK_ATTEMPTS: u32 = 5;
const CLOCK_TOLERANCE_NS: i128 = 5_000_000;

/// Carries out all steps and thaws the application. Answers how long the steps took.
pub(crate) fn make_unique(agent: &Agent, wanted: &Uniqueness) -> Result<UniqueTimes, Refusal> {
    let began = Instant::now();
    bounds::check_hostname(&wanted.hostname)?;
    bounds::check_machine_id(&wanted.machine_id)?;
    if !agent.application.is_frozen() {
        // The host did not get the answer the first time.
        let is_repeated = |done: &Uniqueness| done.entropy == wanted.entropy;
        if agent.made_unique.borrow().as_ref().is_some_and(is_repeated) {
            return Ok(UniqueTimes::default());
        }
        return Err(refused("the application is not frozen"));
    }
    stir_randomness(&wanted.entropy)?;
    set_clock(wanted.realtime_ns)?;
    sockets::destroy_outbound()?;
    rename(agent, wanted)?;
    if wanted.new_identity {
        files::renew_boot_id()?;
    }
    let unique = began.elapsed();
    agent.application.thaw()?;
    let thawed = began.elapsed();
    agent.made_unique.replace(Some(wanted.clone()));
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Ok(UniqueTimes {
        unique_us: microseconds(unique),
        thaw_us: microseconds(thawed - unique),
    })
}

/// Mixes the host's entropy into the kernel's generator and credits it, so that the next key does not depend only on
/// the guest's old state, which all clones share.
fn stir_randomness(entropy: &[u8; 32]) -> Result<(), Fault> {
    let random = rustix::fs::open(
        "/dev/random",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step("open the random generator")?;
    ioctl::add_entropy(&random, entropy).step("add entropy")?;
    ioctl::reseed(&random).step("reseed the random generator")
}

/// Sets the realtime clock to the host's. KVM's paired clock gives the current time; the time in the host's message is
/// that of sending, which on a busy host may be a while ago.
fn set_clock(sent_realtime_ns: u64) -> Result<(), Fault> {
    let set = |time| rustix::time::clock_settime(ClockId::Realtime, time).step("set the clock");
    let paired = PairedClock::open();
    let host = || paired.as_ref().and_then(PairedClock::now);
    let Some(mut time) = host() else {
        return set(Timespec {
            // Both fit: a u64 of nanoseconds is 584 years.
            tv_sec: (sent_realtime_ns / NANOSECONDS) as i64,
            tv_nsec: (sent_realtime_ns % NANOSECONDS) as i64,
        });
    };
    for _ in 0..CLOCK_ATTEMPTS {
        set(time)?;
        let own = rustix::time::clock_gettime(ClockId::Realtime);
        match host() {
            // Between reading and setting, pages of the snapshot were missing, or another guest had its turn.
            Some(host) if nanoseconds(host) - nanoseconds(own) > CLOCK_TOLERANCE_NS => time = host,
            _ => break,
        }
    }
    Ok(())
}

/// The host's realtime clock through `ptp_kvm` (the hypercall KVM_HC_CLOCK_PAIRING).
struct PairedClock(OwnedFd);

impl PairedClock {
    /// Opens the device; `None` if the guest does not have it.
    fn open() -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Some(Self(
            rustix::fs::open("/dev/ptp0", flags, Mode::empty()).ok()?,
        ))
    }

    /// The host's time; `None` if the host has no clock that KVM can pair.
    fn now(&self) -> Option<Timespec> {
        rustix::time::clock_gettime_dynamic(DynamicClockId::Dynamic(self.0.as_fd())).ok()
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * i128::from(NANOSECONDS) + i128::from(time.tv_nsec)
}

fn rename(agent: &Agent, wanted: &Uniqueness) -> Result<(), Fault> {
    rustix::system::sethostname(wanted.hostname.as_bytes()).step("set the host name")?;
    files::write_own("/etc/hostname", &format!("{}\n", wanted.hostname))?;
    files::write_own("/etc/machine-id", &format!("{}\n", wanted.machine_id))?;
    agent.application.set_hostname(&wanted.hostname)?;
    files::rename(&wanted.hostname, &wanted.machine_id)
}
