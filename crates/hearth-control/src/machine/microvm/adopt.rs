//! What a microVM is, when the record says one thing and the host another: after a crash of either side.
//!
//! Phases with an operation are kept where the operation can simply be done again, which every operation
//! of the host allows. Hooks are called again too: an application may see one twice across a crash of
//! the host, which is better than to lose the microVM.

use super::{Terms, fork, why_it_ends};
use crate::host::Presence;
use crate::life::{Life, Origin, Phase};
use crate::time::Timestamp;

/// `stateReason` of a microVM that the host has no more.
pub const REASON_LOST: &str = "The MicroVM was lost on its host.";

/// How the `stateReason` of a microVM begins whose record or snapshot on the host cannot be read. What is wrong follows.
pub const REASON_DAMAGED: &str = "The MicroVM cannot be brought back: its snapshot is damaged";

/// `stateReason` of a fork that was not launched yet when the service ended. Its parent is not sealed again for it: by
/// now it is somewhere else.
pub const REASON_FORK_INTERRUPTED: &str = "The fork was interrupted by a restart of the service.";

/// The life of a microVM of which the host has `found`, with nothing under way.
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

        // What is being launched may be there or not; what is removed should not be.
        (Phase::Forking | Phase::Launching | Phase::Removing | Phase::Terminated, _) => {
            life.clone()
        }

        // Submitted again, its operation joins what is under way; without one, the next look finds it at rest.
        (Phase::Sealing { .. }, Some(Presence::Busy)) => fork::after(life, terms),
        (_, Some(Presence::Busy)) => life.clone(),

        // As it should be, or an operation that is done again.
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

        // The host has finished or undone the layer; the parent is as it was.
        (Phase::Sealing { since: None }, Some(Presence::Running))
        | (Phase::Sealing { since: Some(_) }, Some(Presence::Suspended)) => {
            fork::after(life, terms)
        }

        // The snapshot was complete before the crash, and only the record of it is missing.
        (Phase::SuspendHook | Phase::Saving | Phase::BackHook, Some(Presence::Suspended)) => {
            super::saved(life, now)
        }
        (Phase::Running | Phase::Sealing { since: None }, Some(Presence::Suspended)) => {
            to(Phase::Suspended { since: now })
        }
        // It was restored, and its process is gone again, but the layer is still good.
        (Phase::ResumeHook, Some(Presence::Suspended)) => to(Phase::Restoring { since: now }),
        // The record says that it sleeps, so it shall.
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

/// The life of a microVM whose snapshot cannot be read, if it sleeps or was about to: it sleeps on in the hope of a repair, as the host
/// keeps what is left of it. `None` of one that has nothing to wait for.
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

/// Whole, whatever was wrong before.
fn repaired(life: &Life) -> Life {
    let reason = life.reason.clone();
    Life {
        reason: reason.filter(|reason| !reason.starts_with(REASON_DAMAGED)),
        ..life.clone()
    }
}
