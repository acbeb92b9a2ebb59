//! What programs ask, what they are answered, and what extensions are told.

use std::time::Duration;

use bytes::Bytes;

use super::refusal::ApiRefusal;

/// Names one call of a program within its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// `GET /runtime/invocation/next`
    Next,
    /// `POST /runtime/invocation/{id}/response` with a whole body.
    Response {
        request_id: String,
        body: ResponseBody,
    },
    /// The same in streaming mode. The body follows once it is allowed.
    Stream { request_id: String },
    /// `POST /runtime/invocation/{id}/error`
    Error {
        request_id: String,
        error_type: String,
        payload: Bytes,
    },
    /// `POST /runtime/init/error`
    InitError { error_type: String, payload: Bytes },
    /// `POST /extension/register`. The identifier is new.
    Register {
        name: String,
        events: ExtensionEvents,
        identifier: String,
    },
    /// `GET /extension/event/next`
    ExtensionNext { identifier: String },
    /// `POST /extension/init/error` or `/extension/exit/error`
    ExtensionError {
        identifier: String,
        error_type: String,
    },
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResponseBody {
    /// All of it, and its type.
    Whole(Bytes, Option<String>),
    /// It exceeds the limit.
    TooLarge,
    /// The runtime broke off.
    Truncated,
}

/// How a streamed response ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// All was passed on.
    Whole,
    /// The runtime said in trailers what went wrong.
    Failed { error_type: String, payload: Bytes },
    /// It exceeds the limit.
    TooLarge,
    /// The runtime broke off.
    Truncated,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The event of the present invocation.
    Event,
    /// 202 with `{"status":"OK"}`.
    Accepted,
    /// Go on with the body of the streamed response.
    Stream,
    /// The extension is registered.
    Registered(String),
    /// `INVOKE` of the present invocation.
    ExtensionInvoke,
    /// `SHUTDOWN`: why, and until when.
    ExtensionShutdown(ShutdownReason, Duration),
    /// No.
    Refused(ApiRefusal),
}

/// The events that an extension wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExtensionEvents {
    pub(crate) invoke: bool,
    pub(crate) shutdown: bool,
}

impl ExtensionEvents {
    pub(super) fn names(self) -> Vec<&'static str> {
        let invoke = self.invoke.then_some("INVOKE");
        let shutdown = self.shutdown.then_some("SHUTDOWN");
        invoke.into_iter().chain(shutdown).collect()
    }
}

/// Why an environment shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    Spindown,
    Timeout,
    Failure,
}

impl ShutdownReason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}
