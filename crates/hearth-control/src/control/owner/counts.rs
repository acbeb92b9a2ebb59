//! The metrics that an owner updates.

use super::Owner;
use crate::life::{Life, Origin};
use crate::machine::microvm::{Event, REASON_FORK_INTERRUPTED, REASON_LOST, Timer};
use crate::metrics::End;

impl Owner {
    /// Counts the outcome of a host operation, with its duration.
    pub(super) fn count(&self, event: &Event) {
        let metrics = &self.shared.metrics;
        let now = self.shared.clock.now();
        let took = now.since(self.moved_at);
        match event {
            Event::Launched => match self.microvm.origin {
                Origin::Version => metrics.launch.observe(took),
                Origin::Fork { .. } => metrics.fork.observe(now.since(self.microvm.started_at)),
            },
            // A child gets this event too, but has no request of another child.
            Event::Sealed if self.seal_request.is_some() => metrics.seal.observe(took),
            Event::Saved => metrics.suspend.observe(took),
            Event::Restored => metrics.resume.observe(took),
            Event::SealFailed => metrics.seal_failures.increment(),
            Event::LaunchFailed(_) => metrics.launch_failures.increment(),
            Event::SaveFailed => metrics.suspend_failures.increment(),
            Event::RestoreFailed(_) => metrics.resume_failures.increment(),
            Event::HookFailed(_) => metrics.hook_failures.increment(),
            _ => {}
        }
    }

    /// Counts the end of this microVM, once.
    pub(super) fn count_end(&self, next: &Life, end: Option<End>) {
        let begins_to_end = next.phase.is_ending() && !self.microvm.life.phase.is_ending();
        if let Some(end) = end.filter(|_| begins_to_end) {
            self.shared.metrics.ends.increment(end);
        }
    }
}

/// The kind of end that an event brings.
pub(super) fn end_of(event: &Event) -> Option<End> {
    match event {
        Event::Terminate => Some(End::Asked),
        Event::Due(Timer::Idle) => Some(End::Idle),
        Event::Due(Timer::Suspended) => Some(End::SuspendedLong),
        Event::Due(Timer::Expiry) => Some(End::Expired),
        Event::HookFailed(_) => Some(End::HookFailed),
        Event::LaunchFailed(_) => Some(End::LaunchFailed),
        Event::Lost => Some(End::Lost),
        Event::Ended(reason) if reason == REASON_LOST => Some(End::Lost),
        Event::Ended(_) => Some(End::Exited),
        _ => None,
    }
}

/// The kind of end that a comparison with the host has brought.
pub(super) fn end_found(life: &Life) -> End {
    if life.reason.as_deref() == Some(REASON_FORK_INTERRUPTED) {
        End::Interrupted
    } else {
        End::Lost
    }
}
