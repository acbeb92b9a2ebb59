//! Why an invocation or an init failed, and what its caller and its log read of that (facts section 2.2).

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::environment::{ProgramEnd, SpawnError};
use crate::limits::MAX_RESPONSE_BYTES;

/// The error type of what failed without a type of its own.
const UNKNOWN_RUNTIME_ERROR: &str = "Runtime.Unknown";

/// A failure of a function, as opposed to one of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The time was over.
    Timeout(Duration),
    /// The runtime ended.
    RuntimeEnded(ProgramEnd),
    /// The runtime's program was not started.
    NotStarted(SpawnError),
    /// An external extension ended.
    ExtensionEnded(ProgramEnd),
    /// An external extension was not started.
    ExtensionNotStarted(String),
    /// An extension said that it cannot go on. Its error type.
    ExtensionReported(String),
    /// The runtime reported an error. The payload goes to the caller untouched.
    Reported {
        /// The error type, for logs.
        error_type: String,
        /// The payload.
        payload: Bytes,
    },
    /// The response exceeds the limit.
    TooLarge,
    /// The runtime broke off its response.
    Truncated,
}

/// How an invocation or init ended, as logs call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing went wrong.
    Success,
    /// The runtime reported an error: the environment goes on. Text reports do not mention it.
    FunctionError(String),
    /// Something failed. Its error type.
    Error(String),
    /// The time was over.
    Timeout,
}

impl Failure {
    /// The error type.
    pub(crate) fn error_type(&self) -> String {
        match self {
            Self::Timeout(_) => "Sandbox.Timedout".to_owned(),
            Self::RuntimeEnded(ProgramEnd::OutOfMemory) => "Runtime.OutOfMemory".to_owned(),
            Self::RuntimeEnded(_) => "Runtime.ExitError".to_owned(),
            Self::NotStarted(_) => "Runtime.InvalidEntrypoint".to_owned(),
            Self::ExtensionEnded(_) => "Extension.Crash".to_owned(),
            Self::ExtensionNotStarted(_) => "Extension.LaunchError".to_owned(),
            Self::ExtensionReported(error_type) | Self::Reported { error_type, .. } => {
                error_type.clone()
            }
            Self::TooLarge => "Function.ResponseSizeTooLarge".to_owned(),
            Self::Truncated => "Runtime.TruncatedResponse".to_owned(),
        }
    }

    /// How reports call it.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Timeout(_) => Status::Timeout,
            Self::Reported { error_type, .. } => Status::FunctionError(error_type.clone()),
            Self::TooLarge => Status::FunctionError(self.error_type()),
            other => Status::Error(other.error_type()),
        }
    }

    /// What the caller of the invocation reads.
    pub(crate) fn payload(&self, request_id: &str) -> Bytes {
        let text = match self {
            Self::Reported { payload, .. } => return payload.clone(),
            Self::TooLarge => {
                let text = format!(
                    "Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
                );
                let error = json!({"errorMessage": text, "errorType": self.error_type()});
                return error.to_string().into();
            }
            Self::Timeout(timeout) => {
                format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
            }
            Self::RuntimeEnded(end) => format!("Runtime {}", runtime_end(*end)),
            Self::NotStarted(SpawnError::NoBootstrap(paths)) => {
                format!("Couldn't find valid bootstrap(s): [{}]", paths.join(" "))
            }
            Self::NotStarted(error) => error.to_string(),
            Self::ExtensionEnded(end) => extension_end(*end),
            Self::ExtensionNotStarted(text) => text.clone(),
            Self::ExtensionReported(_) => "exit status 1".to_owned(),
            Self::Truncated => "Response was truncated".to_owned(),
        };
        // In this order of members, as recorded.
        let (error_type, message) = (
            json!(self.error_type()),
            json!(format!("RequestId: {request_id} Error: {text}")),
        );
        format!("{{\"errorType\":{error_type},\"errorMessage\":{message}}}").into()
    }
}

fn runtime_end(end: ProgramEnd) -> String {
    match end {
        ProgramEnd::Exited(0) => "exited without providing a reason".to_owned(),
        ProgramEnd::Exited(status) => format!("exited with error: exit status {status}"),
        ProgramEnd::Signaled(signal) => {
            format!("exited with error: signal: {}", signal_name(signal))
        }
        ProgramEnd::OutOfMemory | ProgramEnd::Lost => {
            "exited with error: signal: killed".to_owned()
        }
    }
}

fn extension_end(end: ProgramEnd) -> String {
    match end {
        ProgramEnd::Exited(status) => format!("exit status {status}"),
        ProgramEnd::Signaled(signal) => format!("signal: {}", signal_name(signal)),
        ProgramEnd::OutOfMemory | ProgramEnd::Lost => "signal: killed".to_owned(),
    }
}

/// Go's words for signals, which AWS's agent is written in.
fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup".to_owned(),
        2 => "interrupt".to_owned(),
        3 => "quit".to_owned(),
        4 => "illegal instruction".to_owned(),
        5 => "trace/breakpoint trap".to_owned(),
        6 => "aborted".to_owned(),
        7 => "bus error".to_owned(),
        8 => "floating point exception".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        13 => "broken pipe".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

/// The error type of a header, which has to have AWS's form: `(Runtime|Function)\.[A-Z][a-zA-Z]+`.
pub(crate) fn runtime_error_type(header: Option<&str>) -> String {
    let Some(header) = header else {
        return UNKNOWN_RUNTIME_ERROR.to_owned();
    };
    match header.split_once('.') {
        Some(("Runtime" | "Function", name)) if is_name(name) => header.to_owned(),
        _ if header.starts_with("Function.") => "Function.Unknown".to_owned(),
        _ => UNKNOWN_RUNTIME_ERROR.to_owned(),
    }
}

/// The error type that an extension gives, or `fallback`. Bounded, as it is logged.
pub(crate) fn extension_error_type(header: Option<&str>, fallback: &str) -> String {
    const MAX_CHARS: usize = 128;
    match header {
        Some(text) if text.len() <= MAX_CHARS && text.split('.').all(is_name) => text.to_owned(),
        _ => fallback.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|letter| letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(failure: &Failure) -> String {
        String::from_utf8(failure.payload("7f").to_vec()).unwrap()
    }

    #[test]
    fn payloads_are_those_of_the_service() {
        let timeout = Failure::Timeout(Duration::from_secs(1));
        assert_eq!(
            payload(&timeout),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 7f Error: Task timed out after 1.00 seconds"}"#
        );
        let exit = |end| payload(&Failure::RuntimeEnded(end));
        assert_eq!(
            exit(ProgramEnd::Exited(0)),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 7f Error: Runtime exited without providing a reason"}"#
        );
        assert_eq!(
            exit(ProgramEnd::Exited(3)),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 7f Error: Runtime exited with error: exit status 3"}"#
        );
        assert_eq!(
            exit(ProgramEnd::Signaled(9)),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 7f Error: Runtime exited with error: signal: killed"}"#
        );
        let paths = ["/var/task/bootstrap", "/opt/bootstrap"].map(str::to_owned);
        assert_eq!(
            payload(&Failure::NotStarted(SpawnError::NoBootstrap(
                paths.to_vec()
            ))),
            r#"{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: 7f Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"}"#
        );
        assert_eq!(
            payload(&Failure::TooLarge),
            r#"{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#
        );
    }

    #[test]
    fn error_types_have_the_form_of_the_service() {
        assert_eq!(
            runtime_error_type(Some("Runtime.ImportModuleError")),
            "Runtime.ImportModuleError"
        );
        assert_eq!(
            runtime_error_type(Some("Function.lower")),
            "Function.Unknown"
        );
        assert_eq!(runtime_error_type(Some("ValueError")), "Runtime.Unknown");
        assert_eq!(runtime_error_type(None), "Runtime.Unknown");
        assert_eq!(
            extension_error_type(Some("a\nb"), "Extension.InitError"),
            "Extension.InitError"
        );
    }
}
