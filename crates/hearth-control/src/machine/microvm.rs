//! The life of a microVM.
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
//! A fork begins differently: its parent stands in `Sealing` (seen as RUNNING or SUSPENDED, as before) while the layer
//! that both will stand on is written, and nothing else happens to it meanwhile.
//!
//! ```text
//!  PENDING, the child   Forking ──> Launching ──> ForkHook ──> Running
//!  the parent           Running ──> Sealing ──> Running        Suspended ──> Sealing ──> Suspended
//! ```
//!
//! A hook phase is skipped when the image has not enabled the hook. Every hook that fails ends the microVM with a
//! reason (facts section 7). A `suspend` that comes while a resume is under way, and the reverse, is
//! remembered as a [`Wish`] and done next, so that the last word of the caller holds.

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

/// The part of a microVM that the machine reads and never changes.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The hooks of its image.
    pub hooks: Option<&'a Hooks>,
    /// What happens when nobody talks to it.
    pub idle_policy: Option<IdlePolicy>,
    /// The last moment of its life.
    pub expires_at: Timestamp,
    /// Where it began.
    pub origin: Origin,
}

impl<'a> Terms<'a> {
    /// Those of a microVM.
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

/// What can happen to a microVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A caller wants it suspended.
    Suspend,
    /// A caller, or traffic, wants it running.
    Resume,
    /// A caller wants it gone.
    Terminate,
    /// A child wants to begin where it is.
    Fork,
    /// The layer that parent and child stand on is durable: to both.
    Sealed,
    /// The parent could not be sealed, and is as it was.
    SealFailed,
    /// The host has cloned it.
    Launched,
    /// The host could not clone it, or its parent could not be sealed.
    LaunchFailed(String),
    /// The application answered the hook of the present phase.
    HookDone,
    /// It did not.
    HookFailed(HookFailure),
    /// Its snapshot is durable and its process gone.
    Saved,
    /// It could not be suspended and runs on.
    SaveFailed,
    /// The host has brought it back.
    Restored,
    /// It could not be brought back and stays suspended. The sentence is for callers.
    RestoreFailed(String),
    /// An operation found that application, VMM or snapshot is lost.
    Lost,
    /// An operation found that its snapshot cannot be restored until it is repaired; the text says why.
    Damaged(String),
    /// Its application or its VMM ended, as the host tells unasked.
    Ended(String),
    /// Nothing of it is left on the host.
    Removed,
    /// A deadline has come.
    Due(Timer),
}

/// The deadlines of a microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// No activity for as long as its policy allows.
    Idle,
    /// Suspended for as long as its policy allows.
    Suspended,
    /// Its maximum duration.
    Expiry,
}

/// What an event does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It moves.
    Moved(Life),
    /// It stays: the event asks for what is so already, or comes too late to matter.
    Kept,
    /// The caller may not ask for this now.
    Refused(Denial),
}

/// Why a caller may not ask for something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// It is on its way out, or gone.
    Ended,
    /// It is in the middle of something else that has to end first.
    Busy,
}

/// `stateReason` of a microVM that a caller terminated (facts section 3).
pub const REASON_TERMINATED: &str = "Success.";
/// `stateReason` after the maximum duration. What AWS says is not known.
pub const REASON_EXPIRED: &str = "The MicroVM reached its maximum duration.";
/// `stateReason` after the suspended duration. What AWS says is not known.
pub const REASON_SUSPENDED_LONG: &str = "The MicroVM reached its maximum suspended duration.";
/// `stateReason` when an idle microVM is terminated instead of suspended. What AWS says is not known.
pub const REASON_IDLE: &str = "The MicroVM reached its maximum idle duration.";

/// What is after an event.
#[must_use]
pub fn step(life: &Life, terms: &Terms<'_>, event: &Event, now: Timestamp) -> Step {
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
        Event::Launched if life.phase == Phase::Launching => Step::Moved(Life::at(launched(terms))),
        Event::LaunchFailed(reason) if matches!(life.phase, Phase::Forking | Phase::Launching) => {
            end(life, reason)
        }
        Event::Saved if life.phase == Phase::Saving => Step::Moved(saved(life, now)),
        Event::SaveFailed if life.phase == Phase::Saving => Step::Moved(Life::at(back(terms))),
        Event::Restored if matches!(life.phase, Phase::Restoring { .. }) => restored(life, terms),
        Event::RestoreFailed(reason) => restore_failed(life, reason),
        Event::Removed if life.phase == Phase::Removing => Step::Moved(Life {
            phase: Phase::Terminated,
            ..life.clone()
        }),
        Event::Launched
        | Event::LaunchFailed(_)
        | Event::Saved
        | Event::SaveFailed
        | Event::Restored
        | Event::Removed => Step::Kept,
    }
}

/// The earliest deadline of a microVM. `idle_since` is the last moment it was active, or began to run.
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
    // At the same moment the end of life comes first: suspending what must go is waste.
    Some(policy.filter(|(at, _)| *at < expiry.0).unwrap_or(expiry))
}

fn suspend(life: &Life, terms: &Terms<'_>) -> Step {
    match life.phase {
        Phase::Forking | Phase::Launching | Phase::RunHook | Phase::ForkHook => {
            Step::Refused(Denial::Busy)
        }
        Phase::Running => Step::Moved(Life::at(terms.suspending())),
        Phase::SuspendHook
        | Phase::Saving
        | Phase::Suspended { .. }
        | Phase::Sealing { since: Some(_) } => wish(life, None),
        Phase::Restoring { .. }
        | Phase::ResumeHook
        | Phase::BackHook
        | Phase::Sealing { since: None } => wish(life, Some(Wish::Sleep)),
        Phase::TerminateHook | Phase::Removing | Phase::Terminated => Step::Refused(Denial::Ended),
    }
}

fn resume(life: &Life) -> Step {
    match life.phase {
        Phase::Forking | Phase::Launching | Phase::RunHook | Phase::ForkHook | Phase::Running => {
            Step::Kept
        }
        Phase::SuspendHook | Phase::Saving | Phase::Sealing { since: Some(_) } => {
            wish(life, Some(Wish::Run))
        }
        Phase::Suspended { since } => Step::Moved(Life::at(Phase::Restoring { since })),
        Phase::Restoring { .. }
        | Phase::ResumeHook
        | Phase::BackHook
        | Phase::Sealing { since: None } => wish(life, None),
        Phase::TerminateHook | Phase::Removing | Phase::Terminated => Step::Refused(Denial::Ended),
    }
}

/// A version is told who it is by `/run`. A fork's application was told long ago; to it the launch is a return.
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

fn wish(life: &Life, wish: Option<Wish>) -> Step {
    if life.wish == wish {
        Step::Kept
    } else {
        Step::Moved(Life {
            wish,
            ..life.clone()
        })
    }
}

/// `/terminate` is called only on what runs (facts section 7); everything else is removed at once.
fn terminate(life: &Life, terms: &Terms<'_>, reason: &str) -> Step {
    match life.phase {
        Phase::Running => {
            let reason = Some(reason.to_owned());
            Step::Moved(Life {
                phase: terms.terminating(),
                wish: None,
                reason,
            })
        }
        _ => end(life, reason),
    }
}

/// Straight to removal.
fn end(life: &Life, reason: &str) -> Step {
    match life.phase {
        Phase::Removing | Phase::Terminated => Step::Kept,
        // `/terminate` is under way: to ask again changes nothing, to end cuts it short.
        Phase::TerminateHook if reason == REASON_TERMINATED => Step::Kept,
        _ => {
            let reason = Some(why_it_ends(life, reason));
            Step::Moved(Life {
                phase: Phase::Removing,
                wish: None,
                reason,
            })
        }
    }
}

/// What callers are told of the end. Of one that is ending already, the first cause is the one to tell. Why a suspended one could not
/// be resumed is not why it ends.
fn why_it_ends(life: &Life, reason: &str) -> String {
    let first = life.reason.clone().filter(|_| life.phase.is_ending());
    first.unwrap_or_else(|| reason.to_owned())
}

/// What sleeps may be repaired. What runs, or is only beginning, is lost.
fn damaged(life: &Life, what: &str, now: Timestamp) -> Step {
    let Some(asleep) = adopt::damaged(life.phase, what, now) else {
        return end(life, &adopt::reason_damaged(what));
    };
    if asleep == *life {
        return Step::Kept;
    }
    Step::Moved(asleep)
}

/// Where an operation launches, saves or restores a machine, the process that ended is no news: it is the one before, or the operation
/// tells itself how it went. A suspended one has none.
fn ended(life: &Life, reason: &str) -> Step {
    match life.phase {
        Phase::Forking
        | Phase::Launching
        | Phase::Saving
        | Phase::Suspended { .. }
        | Phase::Restoring { .. } => Step::Kept,
        _ => end(life, reason),
    }
}

fn due(life: &Life, terms: &Terms<'_>, timer: Timer) -> Step {
    match (timer, life.phase) {
        _ if life.phase.is_ending() => Step::Kept,
        (Timer::Expiry, _) => terminate(life, terms, REASON_EXPIRED),
        (Timer::Suspended, Phase::Suspended { .. }) => end(life, REASON_SUSPENDED_LONG),
        (Timer::Idle, Phase::Running) => match terms.idle_policy {
            Some(IdlePolicy {
                suspended: Duration::ZERO,
                ..
            }) => terminate(life, terms, REASON_IDLE),
            _ => Step::Moved(Life::at(terms.suspending())),
        },
        (Timer::Idle | Timer::Suspended, _) => Step::Kept,
    }
}

fn hook_done(life: &Life, terms: &Terms<'_>) -> Step {
    match life.phase {
        Phase::RunHook | Phase::ForkHook => Step::Moved(Life::at(Phase::Running)),
        Phase::ResumeHook | Phase::BackHook => Step::Moved(running(life, terms)),
        Phase::SuspendHook => Step::Moved(Life {
            phase: Phase::Saving,
            ..life.clone()
        }),
        Phase::TerminateHook => Step::Moved(Life {
            phase: Phase::Removing,
            ..life.clone()
        }),
        _ => Step::Kept,
    }
}

fn hook_failed(life: &Life, failure: HookFailure) -> Step {
    match life.phase.operation() {
        Some(Operation::Call(hook)) if hook == failure.hook => {
            let reason = Some(failure.to_string());
            Step::Moved(Life {
                phase: Phase::Removing,
                wish: None,
                reason,
            })
        }
        _ => Step::Kept,
    }
}

fn saved(life: &Life, now: Timestamp) -> Life {
    match life.wish {
        Some(Wish::Run) => Life::at(Phase::Restoring { since: now }),
        Some(Wish::Sleep) | None => Life::at(Phase::Suspended { since: now }),
    }
}

fn restored(life: &Life, terms: &Terms<'_>) -> Step {
    if terms.has(Hook::Resume) {
        return Step::Moved(Life {
            phase: Phase::ResumeHook,
            ..life.clone()
        });
    }
    Step::Moved(running(life, terms))
}

fn restore_failed(life: &Life, reason: &str) -> Step {
    match life.phase {
        Phase::Restoring { since } => Step::Moved(Life {
            reason: Some(reason.to_owned()),
            ..Life::at(Phase::Suspended { since })
        }),
        _ => Step::Kept,
    }
}

fn running(life: &Life, terms: &Terms<'_>) -> Life {
    match life.wish {
        Some(Wish::Sleep) => Life::at(terms.suspending()),
        Some(Wish::Run) | None => Life::at(Phase::Running),
    }
}

/// After a suspend that did not happen. The application was told of it, so it is told of the resume too.
fn back(terms: &Terms<'_>) -> Phase {
    if terms.has(Hook::Resume) {
        Phase::BackHook
    } else {
        Phase::Running
    }
}

#[cfg(test)]
mod tests;
