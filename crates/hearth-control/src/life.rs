//! Where a microVM is in its life: the words for it. How it moves on is told by [`crate::machine::microvm`].

use crate::hooks::Hook;
use crate::id::MicrovmId;
use crate::time::Timestamp;

/// What callers are told about where a microVM is. [`Phase`] is finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MicrovmState {
    /// Launch or `/run` is under way.
    Pending,
    /// The application serves.
    Running,
    /// `/suspend` or the snapshot is under way.
    Suspending,
    /// Frozen on disk; also while a resume is under way.
    Suspended,
    /// `/terminate` or the removal is under way.
    Terminating,
    /// Gone for good.
    Terminated,
}

/// Where a microVM is, as the control plane sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It waits until its parent is sealed for it.
    Forking,
    /// The host clones the version, or what the parent was sealed as.
    Launching,
    /// `/run` is called.
    RunHook,
    /// `/resume` is called on a fork: its application runs already, and runs on somewhere else.
    ForkHook,
    /// The application serves.
    Running,
    /// `/suspend` is called.
    SuspendHook,
    /// The host seals where it is, for a child to begin from; then it goes on.
    Sealing {
        /// Since when it has been suspended; `None` when it runs.
        since: Option<Timestamp>,
    },
    /// The host writes the snapshot.
    Saving,
    /// Frozen on disk.
    Suspended {
        /// Since when.
        since: Timestamp,
    },
    /// The host brings it back.
    Restoring {
        /// Since when it has been suspended, in case that it stays so.
        since: Timestamp,
    },
    /// `/resume` is called.
    ResumeHook,
    /// `/resume` is called after a suspend that did not happen: nothing of it is on disk, so it is not SUSPENDED.
    BackHook,
    /// `/terminate` is called.
    TerminateHook,
    /// The host removes it.
    Removing,
    /// Gone for good.
    Terminated,
}

impl Phase {
    /// What callers are told.
    #[must_use]
    pub const fn state(self) -> MicrovmState {
        match self {
            Self::Forking | Self::Launching | Self::RunHook | Self::ForkHook => {
                MicrovmState::Pending
            }
            Self::Running | Self::Sealing { since: None } => MicrovmState::Running,
            Self::SuspendHook | Self::Saving | Self::BackHook => MicrovmState::Suspending,
            Self::Suspended { .. }
            | Self::Sealing { since: Some(_) }
            | Self::Restoring { .. }
            | Self::ResumeHook => MicrovmState::Suspended,
            Self::TerminateHook | Self::Removing => MicrovmState::Terminating,
            Self::Terminated => MicrovmState::Terminated,
        }
    }

    /// What must be under way on the host in this phase.
    #[must_use]
    pub const fn operation(self) -> Option<Operation> {
        match self {
            Self::Forking => Some(Operation::Fork),
            Self::Launching => Some(Operation::Launch),
            Self::RunHook => Some(Operation::Call(Hook::Run)),
            Self::ForkHook => Some(Operation::Call(Hook::Resume)),
            Self::Sealing { .. } => Some(Operation::Seal),
            Self::SuspendHook => Some(Operation::Call(Hook::Suspend)),
            Self::Saving => Some(Operation::Suspend),
            Self::Restoring { .. } => Some(Operation::Resume),
            Self::ResumeHook | Self::BackHook => Some(Operation::Call(Hook::Resume)),
            Self::TerminateHook => Some(Operation::Call(Hook::Terminate)),
            Self::Removing => Some(Operation::Remove),
            Self::Running | Self::Suspended { .. } | Self::Terminated => None,
        }
    }

    /// Whether it is on its way out, or gone.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        matches!(
            self,
            Self::TerminateHook | Self::Removing | Self::Terminated
        )
    }
}

/// One piece of work on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Have the parent sealed.
    Fork,
    /// Clone the version, or what the parent was sealed as.
    Launch,
    /// Seal where it is, for a child.
    Seal,
    /// Call a hook.
    Call(Hook),
    /// Write the snapshot.
    Suspend,
    /// Bring it back.
    Resume,
    /// Remove everything.
    Remove,
}

/// What to do once the present transition is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Resume.
    Run,
    /// Suspend.
    Sleep,
}

/// The part of a microVM that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub phase: Phase,
    /// What comes next, if the caller has said so already.
    pub wish: Option<Wish>,
    /// Why it ends, or why a suspended one could not be resumed: a sentence for callers.
    pub reason: Option<String>,
}

impl Life {
    /// A microVM that was just asked for.
    pub const NEW: Self = Self {
        phase: Phase::Launching,
        wish: None,
        reason: None,
    };

    /// A fork that was just asked for.
    pub const NEW_FORK: Self = Self {
        phase: Phase::Forking,
        wish: None,
        reason: None,
    };

    pub(crate) fn at(phase: Phase) -> Self {
        Self {
            phase,
            wish: None,
            reason: None,
        }
    }
}

/// Where a microVM begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// At the snapshot of its version.
    Version,
    /// Where another microVM was.
    Fork {
        /// That one; it may have ended since.
        parent: MicrovmId,
    },
}
