//! The states and phases of a microVM. [`crate::machine::microvm`] says how it moves between them.

use crate::hooks::Hook;
use crate::id::MicrovmId;
use crate::time::Timestamp;

/// The state of a microVM as callers see it. [`Phase`] is finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MicrovmState {
    /// The launch or `/run` is under way.
    Pending,
    /// The application serves.
    Running,
    /// `/suspend` or the snapshot is under way.
    Suspending,
    /// The microVM is frozen on disk, or a resume is under way.
    Suspended,
    /// `/terminate` or the removal is under way.
    Terminating,
    /// The microVM is gone for good.
    Terminated,
}

/// The state of a microVM as the control plane sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The microVM, a fork, waits until its parent is sealed for it.
    Forking,
    /// The host clones the template of the version, or the layer of the parent.
    Launching,
    /// `/run` is called.
    RunHook,
    /// `/resume` is called on a fork: its application ran in the parent and continues here.
    ForkHook,
    /// The application serves.
    Running,
    /// `/suspend` is called.
    SuspendHook,
    /// The host seals the microVM, so that a child can begin from the layer. Afterwards the microVM goes on.
    Sealing {
        /// Since when the microVM has been suspended. `None` if it runs.
        since: Option<Timestamp>,
    },
    /// The host writes the snapshot.
    Saving,
    /// The microVM is frozen on disk.
    Suspended {
        /// Since when it has been suspended.
        since: Timestamp,
    },
    /// The host resumes the microVM.
    Restoring {
        /// Since when it has been suspended, in case the resume fails.
        since: Timestamp,
    },
    /// `/resume` is called.
    ResumeHook,
    /// `/resume` is called after a suspend that failed. Nothing is on disk, so the microVM is not SUSPENDED.
    BackHook,
    /// `/terminate` is called.
    TerminateHook,
    /// The host removes the microVM.
    Removing,
    /// The microVM is gone for good.
    Terminated,
}

impl Phase {
    /// The state that callers see.
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

    /// The work on the host that must be under way in this phase.
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

    /// Whether the microVM is ending or has ended.
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
    /// Clone the template of the version, or the layer of the parent.
    Launch,
    /// Seal the microVM for a child.
    Seal,
    /// Call a hook.
    Call(Hook),
    /// Write the snapshot.
    Suspend,
    /// Resume the microVM.
    Resume,
    /// Remove everything.
    Remove,
}

/// What to do once the present transition has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Run: resume the microVM.
    Run,
    /// Sleep: suspend the microVM.
    Sleep,
}

/// The part of a microVM that its state machine changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The phase.
    pub phase: Phase,
    /// What comes next, if a caller has asked for it already.
    pub wish: Option<Wish>,
    /// Why the microVM ends, or why it could not be resumed: a sentence for callers.
    pub reason: Option<String>,
}

impl Life {
    /// A microVM that was just requested.
    pub const NEW: Self = Self {
        phase: Phase::Launching,
        wish: None,
        reason: None,
    };

    /// A fork that was just requested.
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

/// What a microVM was launched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The template of its version.
    Version,
    /// A layer of another microVM.
    Fork {
        /// The parent. It may have ended since.
        parent: MicrovmId,
    },
}
