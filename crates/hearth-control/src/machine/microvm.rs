//! The state machine of a microVM.
//!
//! ```text
//!  what callers see     phases
//!
//!  PENDING              Launching ──> RunHook ─────────┐
//!                           │            │             v
//!  RUNNING                  │            │          Running <─────────────┬───────────┐
//!                           │            │             │                  │           │
//!  SUSPENDING               │            │             v     could not    │           │
//!                           │            │        SuspendHook ──> Saving ─┴> BackHook ─┤
//!                           │            │                          │                 │
//!  SUSPENDED                │            │             Suspended <──┘                 └── ResumeHook <── Restoring
//!                           │            │              │    ^                                           ^  │
//!                           │            │              │    └── could not ──────────────────────────────┼──┘
//!                           │            │              └────────────────────────────────────────────────┘
//!                           v            v
//!  TERMINATING          Removing <── TerminateHook <── Running
//!                           │            (any phase may also go straight to Removing)
//!  TERMINATED           Terminated
//! ```
//!
//! A fork begins differently. Its parent is in `Sealing` (callers see RUNNING or SUSPENDED, as before) while the host
//! writes the layer that parent and child will share. Nothing else happens to the parent meanwhile.
//!
//! ```text
//!  PENDING, the child   Forking ──> Launching ──> ForkHook ──> Running
//!  the parent           Running ──> Sealing ──> Running        Suspended ──> Sealing ──> Suspended
//! ```
//!
//! A hook phase is skipped if the image has not enabled the hook. A failed hook ends the microVM with a reason (facts
//! section 7). A `suspend` that comes while a resume is under way, and the reverse, is stored as a [`Wish`] and done
//! next, so that the caller's last request holds.

use std::time::Duration;

use crate::hooks::{Hook, HookFailure, Hooks};
use crate::life::{Life, Operation, Origin, Phase, Wish};
use crate::microvm::{IdlePolicy, Microvm};
use crate::time::Timestamp;

mod adopt;
mod fork;
mod give_way;

pub use adopt::{REASON_DAMAGED, REASON_FORK_INTERRUPTED, REASON_LOST, adopt};
pub use give_way::{LEAST_IDLE, may_give_way};

/// The part of a microVM that its state machine reads and never changes.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The hooks of the image.
    pub hooks: Option<&'a Hooks>,
    /// What happens when the microVM is idle.
    pub idle_policy: Option<IdlePolicy>,
    /// When the maximum duration is over.
    pub expires_at: Timestamp,
    /// What the microVM was launched from.
    pub origin: Origin,
}

impl<'a> Terms<'a> {
    /// The terms of a microVM.
    #[must_use]
    pub fn of(microvm: &'a Microvm) -> Self {
        Self {
            hooks: microvm.terms.hooks.as_ref(),
            idle_policy: microvm.terms.idle_policy,
            expires_at: microvm.expires_at(),
            origin: microvm.origin,
        }
    }

    fn has(&self, hook: Hook) -> bool {
        self.hooks.is_some_and(|hooks| hooks.active(hook).is_some())
    }

    fn suspending(&self) -> Phase {
        if self.has(Hook::Suspend) {
            Phase::SuspendHook
        } else {
            Phase::Saving
        }
    }

    fn terminating(&self) -> Phase {
        if self.has(Hook::Terminate) {
            Phase::TerminateHook
        } else {
            Phase::Removing
        }
    }
}

/// The events of a microVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A caller suspends the microVM.
    Suspend,
    /// A caller, or a request to the endpoint, resumes the microVM.
    Resume,
    /// A caller terminates the microVM.
    Terminate,
    /// A child asks for a layer to begin from.
    Fork,
    /// The layer is durable. Parent and child both get this event.
    Sealed,
    /// The parent could not be sealed and is as before.
    SealFailed,
    /// The host has launched the instance.
    Launched,
    /// The host could not launch the instance, or the parent could not be sealed. The sentence is for callers.
    LaunchFailed(String),
    /// The application answered the hook of the present phase.
    HookDone,
    /// The hook failed.
    HookFailed(HookFailure),
    /// The snapshot is durable and the process is gone.
    Saved,
    /// The microVM could not be suspended and runs on.
    SaveFailed,
    /// The host has resumed the instance.
    Restored,
    /// The instance could not be resumed and stays suspended. The sentence is for callers.
    RestoreFailed(String),
    /// An operation found that application, VMM or snapshot is lost.
    Lost,
    /// An operation found that the snapshot cannot be restored until it is repaired. The text says why.
    Damaged(String),
    /// The application or the VMM ended, as the host reports unasked. The sentence is for callers.
    Ended(String),
    /// Nothing of the instance is left on the host.
    Removed,
    /// A deadline has come.
    Due(Timer),
}

/// The deadlines of a microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// No activity for as long as the idle policy allows.
    Idle,
    /// Suspended for as long as the idle policy allows.
    Suspended,
    /// The maximum duration is over.
    Expiry,
}

/// The result of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The microVM changes.
    Moved(Life),
    /// The microVM stays as it is: what the event asks for is so already, or the event is stale.
    Kept,
    /// A caller may not ask for this now.
    Refused(Denial),
}

/// Why a caller may not ask for something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The microVM is ending or has ended.
    Ended,
    /// Something else is under way that has to end first.
    Busy,
}

/// `stateReason` of a microVM that a caller terminated (facts section 3).
pub const REASON_TERMINATED: &str = "Success.";
/// `stateReason` after the maximum duration. The text of AWS is not known.
pub const REASON_EXPIRED: &str = "The MicroVM reached its maximum duration.";
/// `stateReason` after the maximum suspended duration. The text of AWS is not known.
pub const REASON_SUSPENDED_LONG: &str = "The MicroVM reached its maximum suspended duration.";
/// `stateReason` if an idle microVM is terminated instead of suspended. The text of AWS is not known.
pub const REASON_IDLE: &str = "The MicroVM reached its maximum idle duration.";

/// The state after an event.
#[must_use]
pub fn step(life: &Life, terms: &Terms<'_>, event: &Event, now: Timestamp) -> Transition {
    match event {
        Event::Suspend => suspend(life, terms),
        Event::Resume => resume(life),
        Event::Terminate => terminate(life, terms, REASON_TERMINATED),
        Event::Fork => fork::asked(life),
        Event::Sealed => fork::sealed(life, terms),
        Event::SealFailed => fork::seal_failed(life, terms),
        Event::Due(timer) => due(life, terms, *timer),
        Event::Lost => end(life, REASON_LOST),
        Event::Damaged(what) => damaged(life, what, now),
        Event::Ended(reason) => ended(life, reason),
        Event::HookDone => hook_done(life, terms),
        Event::HookFailed(failure) => hook_failed(life, *failure),
        Event::Launched if life.phase == Phase::Launching => {
            Transition::Moved(Life::at(launched(terms)))
        }
        Event::LaunchFailed(reason) if matches!(life.phase, Phase::Forking | Phase::Launching) => {
            end(life, reason)
        }
        Event::Saved if life.phase == Phase::Saving => Transition::Moved(saved(life, now)),
        Event::SaveFailed if life.phase == Phase::Saving => {
            Transition::Moved(Life::at(back(terms)))
        }
        Event::Restored if matches!(life.phase, Phase::Restoring { .. }) => restored(life, terms),
        Event::RestoreFailed(reason) => restore_failed(life, reason),
        Event::Removed if life.phase == Phase::Removing => Transition::Moved(Life {
            phase: Phase::Terminated,
            ..life.clone()
        }),
        Event::Launched
        | Event::LaunchFailed(_)
        | Event::Saved
        | Event::SaveFailed
        | Event::Restored
        | Event::Removed => Transition::Kept,
    }
}

/// The earliest deadline of a microVM. `idle_since` is when it was last active or began to run, whichever is later.
#[must_use]
pub fn deadline(
    life: &Life,
    terms: &Terms<'_>,
    idle_since: Timestamp,
) -> Option<(Timestamp, Timer)> {
    if life.phase.is_ending() {
        return None;
    }
    let expiry = (terms.expires_at, Timer::Expiry);
    let policy = match (life.phase, terms.idle_policy) {
        (Phase::Running, Some(policy)) => Some((idle_since.after(policy.max_idle), Timer::Idle)),
        (Phase::Suspended { since }, Some(policy)) => {
            Some((since.after(policy.suspended), Timer::Suspended))
        }
        _ => None,
    };
    // At the same moment the maximum duration comes first: it is pointless to suspend what must end.
    Some(policy.filter(|(at, _)| *at < expiry.0).unwrap_or(expiry))
}

fn suspend(life: &Life, terms: &Terms<'_>) -> Transition {
    match life.phase {
        Phase::Forking | Phase::Launching | Phase::RunHook | Phase::ForkHook => {
            Transition::Refused(Denial::Busy)
        }
        Phase::Running => Transition::Moved(Life::at(terms.suspending())),
        Phase::SuspendHook
        | Phase::Saving
        | Phase::Suspended { .. }
        | Phase::Sealing { since: Some(_) } => wish(life, None),
        Phase::Restoring { .. }
        | Phase::ResumeHook
        | Phase::BackHook
        | Phase::Sealing { since: None } => wish(life, Some(Wish::Sleep)),
        Phase::TerminateHook | Phase::Removing | Phase::Terminated => {
            Transition::Refused(Denial::Ended)
        }
    }
}

fn resume(life: &Life) -> Transition {
    match life.phase {
        Phase::Forking | Phase::Launching | Phase::RunHook | Phase::ForkHook | Phase::Running => {
            Transition::Kept
        }
        Phase::SuspendHook | Phase::Saving | Phase::Sealing { since: Some(_) } => {
            wish(life, Some(Wish::Run))
        }
        Phase::Suspended { since } => Transition::Moved(Life::at(Phase::Restoring { since })),
        Phase::Restoring { .. }
        | Phase::ResumeHook
        | Phase::BackHook
        | Phase::Sealing { since: None } => wish(life, None),
        Phase::TerminateHook | Phase::Removing | Phase::Terminated => {
            Transition::Refused(Denial::Ended)
        }
    }
}

/// The phase after a launch. `/run` tells a new microVM its id. The application of a fork was told long ago, so it
/// gets `/resume`.
fn launched(terms: &Terms<'_>) -> Phase {
    let (hook, phase) = match terms.origin {
        Origin::Version => (Hook::Run, Phase::RunHook),
        Origin::Fork { .. } => (Hook::Resume, Phase::ForkHook),
    };
    if terms.has(hook) {
        phase
    } else {
        Phase::Running
    }
}

fn wish(life: &Life, wish: Option<Wish>) -> Transition {
    if life.wish == wish {
        Transition::Kept
    } else {
        Transition::Moved(Life {
            wish,
            ..life.clone()
        })
    }
}

/// Terminates a microVM. `/terminate` is called only if it runs (facts section 7). In other states it is removed at
/// once.
fn terminate(life: &Life, terms: &Terms<'_>, reason: &str) -> Transition {
    match life.phase {
        Phase::Running => {
            let reason = Some(reason.to_owned());
            Transition::Moved(Life {
                phase: terms.terminating(),
                wish: None,
                reason,
            })
        }
        _ => end(life, reason),
    }
}

/// Goes straight to the removal.
fn end(life: &Life, reason: &str) -> Transition {
    match life.phase {
        Phase::Removing | Phase::Terminated => Transition::Kept,
        // `/terminate` is under way: another request changes nothing, but a crash or a deadline ends the call.
        Phase::TerminateHook if reason == REASON_TERMINATED => Transition::Kept,
        _ => {
            let reason = Some(why_it_ends(life, reason));
            Transition::Moved(Life {
                phase: Phase::Removing,
                wish: None,
                reason,
            })
        }
    }
}

/// The reason for the end that callers see. If the microVM is ending already, the first reason stays. The reason why
/// a suspended one could not be resumed is replaced: it is not why the microVM ends.
fn why_it_ends(life: &Life, reason: &str) -> String {
    let first = life.reason.clone().filter(|_| life.phase.is_ending());
    first.unwrap_or_else(|| reason.to_owned())
}

/// A suspended microVM may be repaired. One that runs or is being launched is lost.
fn damaged(life: &Life, what: &str, now: Timestamp) -> Transition {
    let Some(asleep) = adopt::damaged(life.phase, what, now) else {
        return end(life, &adopt::reason_damaged(what));
    };
    if asleep == *life {
        return Transition::Kept;
    }
    Transition::Moved(asleep)
}

/// Handles the end of the process. Ignored while an operation launches, saves or restores: it is the end of an
/// earlier process, or the operation itself reports it. A suspended microVM has no process.
fn ended(life: &Life, reason: &str) -> Transition {
    match life.phase {
        Phase::Forking
        | Phase::Launching
        | Phase::Saving
        | Phase::Suspended { .. }
        | Phase::Restoring { .. } => Transition::Kept,
        _ => end(life, reason),
    }
}

fn due(life: &Life, terms: &Terms<'_>, timer: Timer) -> Transition {
    match (timer, life.phase) {
        _ if life.phase.is_ending() => Transition::Kept,
        (Timer::Expiry, _) => terminate(life, terms, REASON_EXPIRED),
        (Timer::Suspended, Phase::Suspended { .. }) => end(life, REASON_SUSPENDED_LONG),
        (Timer::Idle, Phase::Running) => match terms.idle_policy {
            Some(IdlePolicy {
                suspended: Duration::ZERO,
                ..
            }) => terminate(life, terms, REASON_IDLE),
            _ => Transition::Moved(Life::at(terms.suspending())),
        },
        (Timer::Idle | Timer::Suspended, _) => Transition::Kept,
    }
}

fn hook_done(life: &Life, terms: &Terms<'_>) -> Transition {
    match life.phase {
        Phase::RunHook | Phase::ForkHook => Transition::Moved(Life::at(Phase::Running)),
        Phase::ResumeHook | Phase::BackHook => Transition::Moved(running(life, terms)),
        Phase::SuspendHook => Transition::Moved(Life {
            phase: Phase::Saving,
            ..life.clone()
        }),
        Phase::TerminateHook => Transition::Moved(Life {
            phase: Phase::Removing,
            ..life.clone()
        }),
        _ => Transition::Kept,
    }
}

fn hook_failed(life: &Life, failure: HookFailure) -> Transition {
    match life.phase.operation() {
        Some(Operation::Call(hook)) if hook == failure.hook => {
            let reason = Some(failure.to_string());
            Transition::Moved(Life {
                phase: Phase::Removing,
                wish: None,
                reason,
            })
        }
        _ => Transition::Kept,
    }
}

fn saved(life: &Life, now: Timestamp) -> Life {
    match life.wish {
        Some(Wish::Run) => Life::at(Phase::Restoring { since: now }),
        Some(Wish::Sleep) | None => Life::at(Phase::Suspended { since: now }),
    }
}

fn restored(life: &Life, terms: &Terms<'_>) -> Transition {
    if terms.has(Hook::Resume) {
        return Transition::Moved(Life {
            phase: Phase::ResumeHook,
            ..life.clone()
        });
    }
    Transition::Moved(running(life, terms))
}

fn restore_failed(life: &Life, reason: &str) -> Transition {
    match life.phase {
        Phase::Restoring { since } => Transition::Moved(Life {
            reason: Some(reason.to_owned()),
            ..Life::at(Phase::Suspended { since })
        }),
        _ => Transition::Kept,
    }
}

fn running(life: &Life, terms: &Terms<'_>) -> Life {
    match life.wish {
        Some(Wish::Sleep) => Life::at(terms.suspending()),
        Some(Wish::Run) | None => Life::at(Phase::Running),
    }
}

/// The phase after a suspend that failed. The application was told of the suspend, so it is told of the resume too.
fn back(terms: &Terms<'_>) -> Phase {
    if terms.has(Hook::Resume) {
        Phase::BackHook
    } else {
        Phase::Running
    }
}

#[cfg(test)]
mod tests;
