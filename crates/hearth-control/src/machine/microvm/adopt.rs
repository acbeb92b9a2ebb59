//! What a microVM is, when the record says one thing and the node another: after a crash of either side.
//!
//! Phases with an operation are kept where the operation can simply be done again, which every operation
//! of the node allows. Hooks are called again too: an application may see one twice across a crash of
//! the host, which is better than to lose the microVM.

use super::{Life, Phase};
use crate::node::Presence;
use crate::time::Timestamp;

/// `stateReason` of a microVM that the node has no more.
pub const REASON_LOST: &str = "The MicroVM was lost on its host.";

/// The life of a microVM of which the node has `found`, with nothing under way.
#[must_use]
pub fn adopt(life: &Life, found: Option<Presence>, now: Timestamp) -> Life {
    let to = |phase| Life {
        phase,
        ..life.clone()
    };
    match (life.phase, found) {
        // What is being launched may be there or not; what is removed should not be.
        (Phase::Launching | Phase::Removing | Phase::Terminated, _) => life.clone(),

        // As it should be, or an operation that is done again.
        (
            Phase::RunHook
            | Phase::Running
            | Phase::SuspendHook
            | Phase::Saving
            | Phase::Restoring { .. }
            | Phase::ResumeHook
            | Phase::TerminateHook,
            Some(Presence::Running),
        )
        | (Phase::Suspended { .. } | Phase::Restoring { .. }, Some(Presence::Suspended)) => {
            life.clone()
        }

        // The snapshot was complete before the crash, and only the record of it is missing.
        (Phase::SuspendHook | Phase::Saving, Some(Presence::Suspended)) => super::saved(life, now),
        (Phase::Running, Some(Presence::Suspended)) => to(Phase::Suspended { since: now }),
        // It was restored, and its process is gone again, but the layer is still good.
        (Phase::ResumeHook, Some(Presence::Suspended)) => to(Phase::Restoring { since: now }),
        // The record says that it sleeps, so it shall.
        (Phase::Suspended { .. }, Some(Presence::Running)) => to(Phase::Saving),

        (Phase::TerminateHook, _) => to(Phase::Removing),
        (Phase::RunHook, Some(Presence::Suspended)) | (_, Some(Presence::Debris) | None) => {
            let reason = life
                .reason
                .clone()
                .unwrap_or_else(|| REASON_LOST.to_owned());
            Life {
                phase: Phase::Removing,
                wish: None,
                reason: Some(reason),
            }
        }
    }
}
