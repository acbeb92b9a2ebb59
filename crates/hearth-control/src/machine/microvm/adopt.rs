//! The state of a microVM whose record and host disagree: after a crash of either side.
//!
//! A phase with an operation is kept if the operation can be repeated, which every operation of the host allows.
//! Hooks are repeated too: an application may get a hook twice across a crash of the host, which is better than
//! losing the microVM.

use super::{Terms, fork, why_it_ends};
use crate::host::Presence;
use crate::life::{Life, Origin, Phase};
use crate::time::Timestamp;

/// `stateReason` of a microVM that the host no longer has.
pub const REASON_LOST: &str = "The MicroVM was lost on its host.";

/// How the `stateReason` begins if the record or snapshot on the host cannot be read. What is wrong with it follows.
pub const REASON_DAMAGED: &str = "The MicroVM cannot be brought back: its snapshot is damaged";

/// `stateReason` of a fork that was not launched before the service ended. Its parent is not sealed again for it,
/// because the parent has moved on since.
pub const REASON_FORK_INTERRUPTED: &str = "The fork was interrupted by a restart of the service.";

/// The next state of a microVM of which the host has `found`, when no operation is under way.
#[must_use]
pub fn adopt(life: &Life, terms: &Terms<'_>, found: Option<&Presence>, now: Timestamp) -> Life {
    let to = |phase| Life {
        phase,
        ..life.clone()
    };
    match (life.phase, found) {
        (Phase::Forking | Phase::Launching, _) if is_fork(terms) => {
            removed(life, REASON_FORK_INTERRUPTED)
        }

        // An instance that is being launched may exist or not. One that is being removed should not.
        (Phase::Forking | Phase::Launching | Phase::Removing | Phase::Terminated, _) => {
            life.clone()
        }

        // The operation is submitted again and joins the one under way. Without one, the next look finds the instance
        // at rest.
        (Phase::Sealing { .. }, Some(Presence::Busy)) => fork::after(life, terms),
        (_, Some(Presence::Busy)) => life.clone(),

        // As expected, or an operation that is repeated.
        (
            Phase::RunHook
            | Phase::ForkHook
            | Phase::Running
            | Phase::SuspendHook
            | Phase::Saving
            | Phase::Restoring { .. }
            | Phase::ResumeHook
            | Phase::BackHook
            | Phase::TerminateHook,
            Some(Presence::Running),
        )
        | (Phase::Restoring { .. }, Some(Presence::Suspended)) => life.clone(),

        (Phase::Suspended { .. }, Some(Presence::Suspended)) => repaired(life),

        // The host has finished or undone the layer. The parent is as before.
        (Phase::Sealing { since: None }, Some(Presence::Running))
        | (Phase::Sealing { since: Some(_) }, Some(Presence::Suspended)) => {
            fork::after(life, terms)
        }

        // The snapshot was complete before the crash. Only the record did not say so yet.
        (Phase::SuspendHook | Phase::Saving | Phase::BackHook, Some(Presence::Suspended)) => {
            super::saved(life, now)
        }
        (Phase::Running | Phase::Sealing { since: None }, Some(Presence::Suspended)) => {
            to(Phase::Suspended { since: now })
        }
        // The microVM was restored and its process is gone again, but the layer is still good.
        (Phase::ResumeHook, Some(Presence::Suspended)) => to(Phase::Restoring { since: now }),
        // The record says that the microVM is suspended, so it is suspended again.
        (Phase::Suspended { .. } | Phase::Sealing { since: Some(_) }, Some(Presence::Running)) => {
            to(Phase::Saving)
        }

        (Phase::TerminateHook, _) => to(Phase::Removing),
        (phase, Some(Presence::Damaged(what))) => {
            damaged(phase, what, now).unwrap_or_else(|| removed(life, &reason_damaged(what)))
        }
        (Phase::RunHook | Phase::ForkHook, Some(Presence::Suspended))
        | (_, Some(Presence::Debris) | None) => removed(life, REASON_LOST),
    }
}

fn is_fork(terms: &Terms<'_>) -> bool {
    matches!(terms.origin, Origin::Fork { .. })
}

fn removed(life: &Life, reason: &str) -> Life {
    Life {
        phase: Phase::Removing,
        wish: None,
        reason: Some(why_it_ends(life, reason)),
    }
}

/// The state of a microVM whose snapshot cannot be read, if it is suspended or was about to be: it stays suspended,
/// as it may be repaired. The host keeps what is left of it. `None` if there is nothing to wait for.
pub(super) fn damaged(phase: Phase, what: &str, now: Timestamp) -> Option<Life> {
    let since = match phase {
        Phase::Suspended { since }
        | Phase::Restoring { since }
        | Phase::Sealing { since: Some(since) } => since,
        Phase::SuspendHook | Phase::Saving | Phase::BackHook => now,
        _ => return None,
    };
    Some(Life {
        reason: Some(reason_damaged(what)),
        ..Life::at(Phase::Suspended { since })
    })
}

pub(super) fn reason_damaged(what: &str) -> String {
    format!("{REASON_DAMAGED} ({what}).")
}

/// Clears the reason of an earlier damage: the snapshot is whole.
fn repaired(life: &Life) -> Life {
    let reason = life.reason.clone();
    Life {
        reason: reason.filter(|reason| !reason.starts_with(REASON_DAMAGED)),
        ..life.clone()
    }
}
