//! Makes a snapshot in a thread of its own, which owns the machine meanwhile.
//!
//! ```text
//!   event loop                          sealing thread
//!   ----------                          --------------
//!   begin ------------- machine ------> pause, write memory, seal disks
//!                                         |
//!   Snapshot:  go on <- machine --------- '-- disks continue on overlays
//!              reply <- outcome ------------- hashes, fsync, rename
//!                                         |
//!   Suspend:   reply <- machine, outcome - '-- hashes, fsync, rename   (after a failure: disks open again)
//! ```
//!
//! While the thread owns the machine, its devices are paused with it, and the event loop waits on the control socket
//! alone (`Poller::wait_own`).

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use hearth_snapshot::Sealed;
use hearth_wire::crash_point::CrashPoint;
use hearth_wire::vmm::{self as wire, EndReason, Phase, SnapshotSpec, SnapshotSummary};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::control::Asker;
use crate::crash_point;
use crate::machine::{GoesOn, Machine, SnapshotError};
use crate::virtio::{Poller, Registrar};

/// A snapshot that is under way.
pub(crate) struct Sealing {
    /// The client that waits for the outcome.
    pub(crate) asker: Asker,
    /// The snapshot that was asked for.
    pub(crate) spec: SnapshotSpec,
    /// Whether the machine continues afterwards.
    pub(crate) goes_on: GoesOn,
    /// Whether the machine ran or was paused before. It returns to that phase afterwards.
    pub(crate) phase_before: Phase,
    /// Number of open vsock streams when the machine was handed over.
    pub(crate) vsock_streams: u64,
    /// How long the machine was paused, in microseconds; `None` as long as it has not continued.
    pub(crate) paused_us: Option<u64>,
    since: Instant,
    steps: Receiver<Step>,
    wake: Arc<EventFd>,
    registrar: Registrar,
}

/// A message of the sealing thread to the event loop.
pub(crate) enum Step {
    /// The guest ended before it could be paused.
    Ended(Box<Machine>, EndReason),
    /// Memory and disks are written: the machine may continue.
    Captured(Box<Machine>),
    /// The snapshot is durable, or failed. With the machine, unless it was handed back before.
    Finished(Option<Box<Machine>>, SealResult),
}

/// The outcome of a snapshot.
pub(crate) type SealResult = Result<(Sealed, SnapshotSummary), SnapshotError>;

impl Sealing {
    /// Hands the machine to a new thread. `token` in the process's slot wakes the event loop for
    /// [`Sealing::next_step`]. On a failure the machine comes back unchanged.
    pub(crate) fn begin(
        machine: Box<Machine>,
        asker: Asker,
        (spec, goes_on): (SnapshotSpec, GoesOn),
        (poller, slot, token): (&Poller, u32, u32),
    ) -> Result<Self, (Box<Machine>, io::Error)> {
        let registrar = poller.registrar(slot);
        let watched = EventFd::new(EFD_NONBLOCK).and_then(|wake| {
            registrar.add(wake.as_raw_fd(), token, EventSet::IN)?;
            Ok(Arc::new(wake))
        });
        let wake = match watched {
            Ok(wake) => wake,
            Err(error) => return Err((machine, error)),
        };
        let (tell, steps) = channel();
        let sealing = Self {
            asker,
            spec,
            goes_on,
            phase_before: machine.phase(),
            vsock_streams: machine.vsock_streams(),
            paused_us: None,
            since: Instant::now(),
            steps,
            wake: Arc::clone(&wake),
            registrar,
        };
        sealing.start(machine, Teller { tell, wake })?;
        Ok(sealing)
    }

    /// Starts the thread and sends it the machine through a channel. If the closure owned the machine, a thread that
    /// does not start would drop it.
    fn start(
        &self,
        machine: Box<Machine>,
        teller: Teller,
    ) -> Result<(), (Box<Machine>, io::Error)> {
        let (give, take) = channel();
        let (spec, goes_on) = (self.spec.clone(), self.goes_on);
        let thread = std::thread::Builder::new().name("seal".into());
        let started = thread.spawn(move || {
            if let Ok(machine) = take.recv() {
                seal(machine, &spec, goes_on, &teller);
            }
        });
        match started {
            Ok(_) => give
                .send(machine)
                .map_err(|lost| (lost.0, io::ErrorKind::BrokenPipe.into())),
            Err(error) => Err((machine, error)),
        }
    }

    /// The next message of the thread, if there is one. Does not block.
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        let _ = self.wake.read();
        // Nothing yet; and a thread that panics ends the process.
        self.steps.try_recv().ok()
    }

    /// Describes the snapshot for `wire::Status`.
    pub(crate) fn describe(&self) -> wire::Sealing {
        wire::Sealing {
            request: self.asker.request,
            directory: self.spec.directory.clone(),
            is_suspend: self.goes_on == GoesOn::No,
            since_us: u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        self.registrar.remove(self.wake.as_raw_fd());
    }
}

/// The thread's side of the channel.
struct Teller {
    tell: Sender<Step>,
    wake: Arc<EventFd>,
}

impl Teller {
    fn tell(&self, step: Step) {
        // Nobody listens when the process is about to end.
        let _ = self.tell.send(step);
        let _ = self.wake.write(1);
    }
}

/// The main function of the sealing thread.
fn seal(mut machine: Box<Machine>, spec: &SnapshotSpec, goes_on: GoesOn, teller: &Teller) {
    if let Err(reason) = machine.pause() {
        return teller.tell(Step::Ended(machine, reason));
    }
    crash_point::reach(CrashPoint::SealBegun);
    let sealing = match machine.capture(spec, goes_on) {
        Ok(sealing) => sealing,
        Err(error) => return teller.tell(Step::Finished(Some(machine), Err(error))),
    };
    let mut machine = Some(machine);
    if goes_on == GoesOn::Yes
        && let Some(machine) = machine.take()
    {
        teller.tell(Step::Captured(machine));
    }
    let result = sealing.finish().map_err(SnapshotError::Capture);
    let result = match &mut machine {
        Some(machine) => result.map_err(|error| machine.reopen_disks(error)),
        None => result,
    };
    if result.is_ok() {
        crash_point::reach(CrashPoint::SealDurable);
    }
    teller.tell(Step::Finished(machine, result));
}
