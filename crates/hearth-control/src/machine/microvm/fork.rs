//! A parent that is sealed for a child: where it goes from there.

use super::{Denial, Step, Terms};
use crate::life::{Life, Phase, Wish};

/// A child asks for the layer.
pub(super) fn asked(life: &Life) -> Step {
    let since = match life.phase {
        Phase::Running => None,
        Phase::Suspended { since } => Some(since),
        phase if phase.is_ending() => return Step::Refused(Denial::Ended),
        _ => return Step::Refused(Denial::Busy),
    };
    Step::Moved(Life::at(Phase::Sealing { since }))
}

/// The layer is there: the child is launched from it, the parent goes on.
pub(super) fn sealed(life: &Life, terms: &Terms<'_>) -> Step {
    match life.phase {
        Phase::Forking => Step::Moved(Life::at(Phase::Launching)),
        _ => seal_failed(life, terms),
    }
}

/// To the parent it is the same whether there is a layer or not.
pub(super) fn seal_failed(life: &Life, terms: &Terms<'_>) -> Step {
    match life.phase {
        Phase::Sealing { .. } => Step::Moved(after(life, terms)),
        _ => Step::Kept,
    }
}

/// What a parent is after it was sealed: what it was before, or what the caller has wished for meanwhile.
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
