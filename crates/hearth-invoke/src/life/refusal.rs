//! What the Runtime and Extensions APIs refuse, and how AWS's agent words it.

use crate::limits::MAX_RESPONSE_BYTES;

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiRefusal {
    /// The id is not that of the present invocation.
    InvalidRequestId,
    /// The runtime may not do this now: the state that it is in, and the one that it wants.
    InvalidTransition {
        from: &'static str,
        to: &'static str,
    },
    /// The response is too large.
    TooLarge,
    /// The body ended before its time.
    Truncated,
    /// The response mode is unknown.
    InvalidResponseMode,
    /// The name of an extension is missing.
    MissingExtensionName,
    /// Init is over: nobody can register.
    RegistrationClosed,
    /// There are too many extensions.
    TooManyExtensions,
    /// An event that an extension cannot have.
    InvalidEventType(String),
    /// The body cannot be read.
    InvalidBody,
    /// The header with the identifier is missing.
    MissingIdentifier,
    /// The identifier is none.
    InvalidIdentifier,
    /// No extension has this identifier.
    UnknownIdentifier,
    /// The extension may not do this now.
    InvalidExtensionState(&'static str),
    /// The header with the error type is missing.
    MissingErrorType,
    /// The environment has ended.
    Over,
    /// Not there (yet): what, and why.
    Unsupported(&'static str),
}

impl ApiRefusal {
    /// Status, error type and text.
    pub(crate) fn parts(&self) -> (u16, &'static str, String) {
        let text = |text: &str| text.to_owned();
        match self {
            Self::InvalidRequestId => (400, "InvalidRequestID", text("Invalid request ID")),
            Self::InvalidTransition { from, to } => (
                403,
                "InvalidStateTransition",
                format!(
                    "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
                ),
            ),
            Self::TooLarge => (
                413,
                "RequestEntityTooLarge",
                format!("Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."),
            ),
            Self::Truncated => (
                400,
                "TruncatedHTTPRequest",
                text("HTTP request detected as truncated"),
            ),
            Self::InvalidResponseMode => (
                400,
                "InvalidFunctionResponseMode",
                text("Invalid function response mode"),
            ),
            Self::MissingExtensionName => (
                403,
                "Extension.InvalidExtensionName",
                text("Empty extension name"),
            ),
            Self::RegistrationClosed => (
                403,
                "Extension.RegistrationClosed",
                text("Extension registration closed already"),
            ),
            Self::TooManyExtensions => (
                403,
                "Extension.TooManyExtensions",
                text("Extension limit (10) reached"),
            ),
            Self::InvalidEventType(event) => (
                403,
                "Extension.InvalidEventType",
                format!("Invalid event type: {event}"),
            ),
            Self::InvalidBody => (
                400,
                "InvalidRequestFormat",
                text("Cannot parse request body"),
            ),
            Self::MissingIdentifier => (
                403,
                "Extension.MissingExtensionIdentifier",
                text("Missing Lambda-Extension-Identifier header"),
            ),
            Self::InvalidIdentifier => (
                403,
                "Extension.InvalidExtensionIdentifier",
                text("Invalid Lambda-Extension-Identifier"),
            ),
            Self::UnknownIdentifier => (
                403,
                "Extension.UnknownExtensionIdentifier",
                text("Unknown extension"),
            ),
            Self::InvalidExtensionState(from) => (
                403,
                "Extension.InvalidExtensionState",
                format!("State transition from {from} is not allowed"),
            ),
            Self::MissingErrorType => (
                400,
                "Extension.MissingHeader",
                text("Lambda-Extension-Function-Error-Type not found"),
            ),
            Self::Over => (
                503,
                "Runtime.EnvironmentOver",
                text("The environment has ended."),
            ),
            Self::Unsupported(what) => (501, "Unsupported", text(what)),
        }
    }
}
