//! The runtime's side of the Runtime API: what it may ask in which state.

use super::messages::CallId;
use crate::environment::ProgramId;

/// The runtime's process.
#[derive(Debug)]
pub(super) struct Runtime {
    /// Known once it was started.
    pub(super) program: Option<ProgramId>,
    pub(super) state: RuntimeState,
}

/// Where the runtime is. The names are those that AWS's agent prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuntimeState {
    Started,
    InitError,
    /// It waits for an event with this call.
    Ready(CallId),
    /// It has asked for an event, and its connection has broken.
    Absent,
    Running,
    /// It streams its response with this call.
    Responding(CallId),
    ResponseSent,
    ErrorSent,
}

impl RuntimeState {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::InitError => "InitError",
            Self::Ready(_) | Self::Absent => "Ready",
            Self::Running => "Running",
            Self::Responding(_) => "InvocationResponse",
            Self::ErrorSent => "InvocationErrorResponse",
            Self::ResponseSent => "ResponseSent",
        }
    }
}

impl Runtime {
    pub(super) fn new() -> Self {
        Self {
            program: None,
            state: RuntimeState::Started,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, RuntimeState::Ready(_))
    }

    /// Takes the call that waits for an event.
    pub(super) fn deliver(&mut self) -> Option<CallId> {
        let RuntimeState::Ready(call) = self.state else {
            return None;
        };
        self.state = RuntimeState::Running;
        Some(call)
    }
}
