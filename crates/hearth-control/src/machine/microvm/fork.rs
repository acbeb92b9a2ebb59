//! Transitions of a parent that is sealed for a child.

use super::{Denial, Terms, Transition};
use crate::life::{Life, Phase, Wish};

/// A child asks for a layer.
pub(super) fn asked(life: &Life) -> Transition {
    let since = match life.phase {
        Phase::Running => None,
        Phase::Suspended { since } => Some(since),
        phase if phase.is_ending() => return Transition::Refused(Denial::Ended),
        _ => return Transition::Refused(Denial::Busy),
    };
    Transition::Moved(Life::at(Phase::Sealing { since }))
}

/// The layer is durable: the child is launched from it, the parent goes on.
pub(super) fn sealed(life: &Life, terms: &Terms<'_>) -> Transition {
    match life.phase {
        Phase::Forking => Transition::Moved(Life::at(Phase::Launching)),
        _ => seal_failed(life, terms),
    }
}

/// The layer could not be written. The parent goes on as if it were.
pub(super) fn seal_failed(life: &Life, terms: &Terms<'_>) -> Transition {
    match life.phase {
        Phase::Sealing { .. } => Transition::Moved(after(life, terms)),
        _ => Transition::Kept,
    }
}

/// The state of a parent after it was sealed: the same as before, or what a caller has asked for meanwhile.
pub(super) fn after(life: &Life, terms: &Terms<'_>) -> Life {
    let phase = match (life.phase, life.wish) {
        (Phase::Sealing { since: Some(since) }, Some(Wish::Run)) => Phase::Restoring { since },
        (Phase::Sealing { since: Some(since) }, _) => Phase::Suspended { since },
        (Phase::Sealing { since: None }, Some(Wish::Sleep)) => terms.suspending(),
        (Phase::Sealing { since: None }, _) => Phase::Running,
        _ => return life.clone(),
    };
    Life::at(phase)
}
