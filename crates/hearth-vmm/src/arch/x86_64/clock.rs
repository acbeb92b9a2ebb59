//! The guest's clocks over a time in which it did not run.
//!
//! A guest reads the time from the paravirtual clock (one for the machine) or from the time stamp counters (one for each
//! vCPU), whichever its kernel trusts more, and is woken by the timers of its local APICs. So all of them move on by
//! the same time, or none:
//!
//! ```text
//!   absence = wall clock now - wall clock when the clock was saved
//!     paravirtual clock     + absence
//!     time stamp counters   + absence * frequency       deadlines of timers are in these: they may have passed
//!     counting APIC timers  - absence                   at least one tick is left, so that they fire
//! ```
//!
//! KVM would add the absence to the paravirtual clock itself (`KVM_CLOCK_REALTIME`, Linux 5.16). It is added here, so that
//! the counters move by exactly the same, and on older kernels too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvm_bindings::{KVM_CLOCK_REALTIME, kvm_clock_data, kvm_lapic_state};
use kvm_ioctls::VmFd;

/// Registers of the local APIC, by offset (SDM vol. 3, table 12-1).
const LVT_TIMER: usize = 0x320;
const TIMER_CURRENT_COUNT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;

/// Bits of the timer's entry that tell how it works (SDM vol. 3, figure 12-8): 2 is the deadline mode.
const TIMER_MODE_SHIFT: u32 = 17;
const TIMER_MODE_MASK: u32 = 3;
const DEADLINE_MODE: u32 = 2;

/// Duration of one cycle of the bus by which KVM's local APIC counts, unless it is told otherwise
/// (`APIC_BUS_CYCLE_NS_DEFAULT`).
const BUS_CYCLE_NS: u128 = 1;

/// Reads the paravirtual clock together with the wall clock at that moment. The wall clock is valid if the flags
/// contain `KVM_CLOCK_REALTIME`.
pub fn read(vm: &VmFd) -> Result<kvm_clock_data, kvm_ioctls::Error> {
    let clock = vm.get_clock()?;
    if clock.flags & KVM_CLOCK_REALTIME != 0 {
        return Ok(clock);
    }
    // Kernels before 5.16, and hosts whose own clock is not the time stamp counter, do not tell.
    Ok(kvm_clock_data {
        realtime: wall_clock_ns(),
        flags: clock.flags | KVM_CLOCK_REALTIME,
        ..clock
    })
}

/// How long a machine with this saved clock did not run, if the wall clock now shows `now_ns`. `None` if the clock was
/// saved without the wall clock; zero if the wall clock was set back since.
pub fn absence(saved: &kvm_clock_data, now_ns: u64) -> Option<Duration> {
    (saved.flags & KVM_CLOCK_REALTIME != 0)
        .then(|| Duration::from_nanos(now_ns.saturating_sub(saved.realtime)))
}

/// The wall clock, in nanoseconds since the epoch.
pub fn wall_clock_ns() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    nanoseconds(now)
}

/// The paravirtual clock moved on by `absence`, in the form that KVM accepts. The flags are cleared: they say how the
/// value was read, and KVM wants none of them when it is written.
pub fn moved_on(saved: &kvm_clock_data, absence: Duration) -> kvm_clock_data {
    kvm_clock_data {
        clock: saved.clock.saturating_add(nanoseconds(absence)),
        flags: 0,
        ..*saved
    }
}

/// Converts `time` to ticks of a time stamp counter. Answers 0 for an unknown frequency (0).
pub fn tsc_ticks(time: Duration, tsc_khz: u32) -> u64 {
    const NS_PER_MS: u128 = 1_000_000;
    // The counter wraps as well.
    (time.as_nanos() * u128::from(tsc_khz) / NS_PER_MS) as u64
}

/// Takes `absence` off a timer that counts down. A timer that would have fired meanwhile keeps one tick: KVM takes a
/// count of 0 for a timer that was never started.
pub fn move_apic_timer(lapic: &mut kvm_lapic_state, absence: Duration) {
    let mode = register(lapic, LVT_TIMER) >> TIMER_MODE_SHIFT & TIMER_MODE_MASK;
    let left = register(lapic, TIMER_CURRENT_COUNT);
    if mode == DEADLINE_MODE || left == 0 {
        return;
    }
    let ticks = absence.as_nanos() / (BUS_CYCLE_NS * divisor(register(lapic, TIMER_DIVIDE)));
    let left = u32::try_from(u128::from(left).saturating_sub(ticks))
        .unwrap_or(left)
        .max(1);
    set_register(lapic, TIMER_CURRENT_COUNT, left);
}

/// Bus cycles of one tick (SDM vol. 3, figure 12-10): bits 0, 1 and 3 are a power of two, from 2 on; all set is 1.
fn divisor(register: u32) -> u128 {
    let exponent = (register & 3 | register >> 1 & 4) + 1;
    1 << (exponent & 7)
}

fn register(lapic: &kvm_lapic_state, offset: usize) -> u32 {
    let bytes = [0, 1, 2, 3].map(|byte| lapic.regs[offset + byte] as u8);
    u32::from_le_bytes(bytes)
}

fn set_register(lapic: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (at, byte) in value.to_le_bytes().into_iter().enumerate() {
        lapic.regs[offset + at] = byte as _;
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn saved(flags: u32) -> kvm_clock_data {
        kvm_clock_data {
            clock: 5,
            flags,
            realtime: 1_000,
            ..Default::default()
        }
    }

    #[test]
    fn a_guest_was_away_for_what_the_wall_clock_says() {
        let clock = saved(KVM_CLOCK_REALTIME | 2);
        assert_eq!(absence(&clock, 1_700), Some(Duration::from_nanos(700)));
        assert_eq!(absence(&clock, 300), Some(Duration::ZERO), "set back");
        assert_eq!(absence(&saved(2), 1_700), None, "not in this snapshot");
    }

    #[test]
    fn the_paravirtual_clock_moves_and_is_written_without_flags() {
        let moved = moved_on(&saved(KVM_CLOCK_REALTIME), HOUR);
        assert_eq!((moved.clock, moved.flags), (3_600_000_000_005, 0));
    }

    #[test]
    fn counters_tick_at_their_frequency() {
        assert_eq!(tsc_ticks(HOUR, 2_500_000), 3600 * 2_500_000_000);
        assert_eq!(tsc_ticks(Duration::from_nanos(3), 2_500_000), 7);
        assert_eq!(tsc_ticks(HOUR, 0), 0);
        // Years at the highest frequencies do not overflow on the way.
        assert_ne!(tsc_ticks(HOUR * 24 * 365 * 50, 5_000_000), 0);
    }

    fn timer(mode: u32, divide: u32, left: u32) -> kvm_lapic_state {
        let mut lapic = kvm_lapic_state::default();
        set_register(&mut lapic, LVT_TIMER, mode << TIMER_MODE_SHIFT | 0xec);
        set_register(&mut lapic, TIMER_DIVIDE, divide);
        set_register(&mut lapic, TIMER_CURRENT_COUNT, left);
        lapic
    }

    fn left_after(mut lapic: kvm_lapic_state, absence: Duration) -> u32 {
        move_apic_timer(&mut lapic, absence);
        register(&lapic, TIMER_CURRENT_COUNT)
    }

    #[test]
    fn a_counting_timer_has_less_left_and_still_fires() {
        let microsecond = Duration::from_micros(1);
        // Divided by 16, as Linux does.
        assert_eq!(left_after(timer(0, 3, 1_000_000), microsecond), 999_938);
        assert_eq!(left_after(timer(1, 0xb, u32::MAX), HOUR), 1);
        assert_eq!(left_after(timer(0, 3, 0), HOUR), 0, "none was started");
        assert_eq!(left_after(timer(DEADLINE_MODE, 3, 9), HOUR), 9);
        assert_eq!(left_after(timer(0, 3, 9), Duration::ZERO), 9);
    }

    #[test]
    fn timers_count_bus_cycles_divided() {
        let divisors = [0, 1, 2, 3, 8, 9, 0xa, 0xb].map(divisor);
        assert_eq!(divisors, [2, 4, 8, 16, 32, 64, 128, 1]);
    }
}
