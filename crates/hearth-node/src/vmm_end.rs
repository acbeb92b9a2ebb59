//! How VMM processes ended, to tell why a microVM is gone.
//!
//! A VMM may have been taken over by its guest, so its own messages are not passed on. The end is one of a fixed list,
//! decided by the process's exit status and its control group.

use std::collections::VecDeque;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearth_wire::vmm::VmmExit;
use rustix::process::Signal;
use tokio::sync::Notify;
use tokio::time;

use crate::record::ProcessRecord;

/// Number of ends that are remembered. Followers of an instance ask within a second, in which all microVMs of a host
/// may end.
const KEPT: usize = 4096;

/// How a VMM's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmmEnd {
    /// Its guest powered off or reset.
    GuestShutDown,
    /// The OOM killer killed it: its control group, or the host, had no memory left.
    OutOfMemory,
    /// Its guest's drivers caused too many device faults.
    DeviceFaults,
    /// Its guest met a triple fault.
    TripleFault,
    /// KVM could not run the guest.
    Kvm,
    /// It could not put up its sandbox, or its control socket.
    NotStarted,
    /// It panicked.
    Panicked,
    /// It made a system call that its seccomp filter forbids.
    ForbiddenCall,
    /// Somebody killed it.
    Killed,
    /// It ended in any other way.
    Crashed,
}

impl VmmEnd {
    /// Decides the end from the exit status, and from whether the control group counts an OOM kill.
    #[must_use]
    pub fn of(status: ExitStatus, was_out_of_memory: bool) -> Self {
        if let Some(signal) = status.signal() {
            return match signal {
                _ if signal == Signal::KILL.as_raw() && was_out_of_memory => Self::OutOfMemory,
                _ if signal == Signal::KILL.as_raw() => Self::Killed,
                _ if signal == Signal::SYS.as_raw() => Self::ForbiddenCall,
                _ => Self::Crashed,
            };
        }
        match status.code().and_then(VmmExit::of_code) {
            Some(VmmExit::Orderly) => Self::GuestShutDown,
            Some(VmmExit::NotStarted) => Self::NotStarted,
            Some(VmmExit::Kvm) => Self::Kvm,
            Some(VmmExit::DeviceFaults) => Self::DeviceFaults,
            Some(VmmExit::TripleFault) => Self::TripleFault,
            Some(VmmExit::Panic) => Self::Panicked,
            None => Self::Crashed,
        }
    }
}

impl fmt::Display for VmmEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GuestShutDown => "its guest shut down",
            Self::OutOfMemory => "out of memory",
            Self::DeviceFaults => "ended by its VMM: device faults",
            Self::TripleFault => "ended by its VMM: triple fault",
            Self::Kvm => "ended by its VMM: KVM could not run the guest",
            Self::NotStarted => "its VMM could not start",
            Self::Panicked => "its VMM failed",
            Self::ForbiddenCall => "its VMM was stopped by its sandbox",
            Self::Killed => "killed",
            Self::Crashed => "its VMM crashed",
        })
    }
}

/// The ends of VMM processes that this node has seen, newest last.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    known: Mutex<VecDeque<(ProcessRecord, VmmEnd)>>,
    changed: Notify,
}

impl Ends {
    fn known(&self) -> MutexGuard<'_, VecDeque<(ProcessRecord, VmmEnd)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers an end.
    pub(crate) fn add(&self, process: ProcessRecord, end: VmmEnd) {
        let mut known = self.known();
        if known.len() == KEPT {
            known.pop_front();
        }
        known.push_back((process, end));
        drop(known);
        self.changed.notify_waiters();
    }

    fn find(&self, process: ProcessRecord) -> Option<VmmEnd> {
        let known = self.known();
        let mut found = known.iter().rev().filter(|(other, _)| *other == process);
        found.next().map(|(_, end)| *end)
    }

    /// How a process ended that has just ended; `None` if that is not known within `limit`. The end of a process that
    /// an earlier node started is never known, as it is not a child of this one.
    pub(crate) async fn of(&self, process: ProcessRecord, limit: Duration) -> Option<VmmEnd> {
        let until_known = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Before the look, so that nothing comes in between.
                changed.as_mut().enable();
                if let Some(end) = self.find(process) {
                    return end;
                }
                changed.await;
            }
        };
        time::timeout(limit, until_known).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn signalled(signal: Signal) -> ExitStatus {
        ExitStatus::from_raw(signal.as_raw())
    }

    #[test]
    fn each_end_is_told_by_a_number_alone() {
        for (status, was_out_of_memory, told) in [
            (exited(3), false, "ended by its VMM: device faults"),
            (exited(0), false, "its guest shut down"),
            (exited(101), false, "its VMM failed"),
            (exited(77), false, "its VMM crashed"),
            (signalled(Signal::KILL), false, "killed"),
            (signalled(Signal::KILL), true, "out of memory"),
            // The group's count is of this process only if that was killed.
            (exited(3), true, "ended by its VMM: device faults"),
            (
                signalled(Signal::SYS),
                false,
                "its VMM was stopped by its sandbox",
            ),
            (signalled(Signal::SEGV), false, "its VMM crashed"),
        ] {
            assert_eq!(VmmEnd::of(status, was_out_of_memory).to_string(), told);
        }
    }

    #[tokio::test]
    async fn an_end_is_waited_for_and_belongs_to_one_process() {
        let ends = Ends::default();
        let process = |pid| ProcessRecord {
            pid,
            start_ticks: 1,
        };
        let (early, late) = (process(1), process(2));
        ends.add(early, VmmEnd::Killed);
        assert_eq!(ends.of(early, Duration::ZERO).await, Some(VmmEnd::Killed));
        let limit = Duration::from_millis(20);
        assert_eq!(ends.of(late, limit).await, None);
        let (found, ()) = tokio::join!(ends.of(late, Duration::from_secs(20)), async {
            tokio::task::yield_now().await;
            ends.add(late, VmmEnd::OutOfMemory);
        });
        assert_eq!(found, Some(VmmEnd::OutOfMemory));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let ends = Ends::default();
        for pid in 0..KEPT as u32 + 10 {
            let process = ProcessRecord {
                pid,
                start_ticks: 1,
            };
            ends.add(process, VmmEnd::Killed);
        }
        assert_eq!(ends.known().len(), KEPT);
    }
}
