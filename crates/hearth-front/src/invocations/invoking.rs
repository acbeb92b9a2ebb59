//! The operations that run functions, and what runs them.

use hearth_invoke::{EventQueue, Invoker};

use crate::fault::Fault;

/// What runs functions.
pub struct Invocations {
    /// Runs invocations.
    pub invoker: Invoker,
    /// Stores events and runs them later.
    pub events: EventQueue,
}

/// An operation that runs a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invoking {
    Invoke,
    InvokeAsync,
    InvokeWithResponseStream,
}

impl Invoking {
    /// The operation of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "Invoke" => Some(Self::Invoke),
            "InvokeAsync" => Some(Self::InvokeAsync),
            "InvokeWithResponseStream" => Some(Self::InvokeWithResponseStream),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Invoke => "Invoke",
            Self::InvokeAsync => "InvokeAsync",
            Self::InvokeWithResponseStream => "InvokeWithResponseStream",
        }
    }

    /// The action that policies allow.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Invoke | Self::InvokeWithResponseStream => "lambda:InvokeFunction",
            Self::InvokeAsync => "lambda:InvokeAsync",
        }
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterValueException", message)
}

pub(super) fn invalid_content(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidRequestContentException", message)
}
