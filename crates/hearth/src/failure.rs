//! Reports of failed commands: the error, a hint, and an exit status that scripts can tell apart.

use std::path::PathBuf;
use std::process::ExitCode;

use hearth_client::{ClientError, Refusal};
use hearth_wire::without_error_numbers;

use crate::config::ConfigError;
use crate::microvm::wait::WaitError;
use crate::names::NameError;
use crate::output::Unread;
use crate::refused::{
    BuildInterrupted, EndpointRefused, FunctionFailed, FunctionNotReady, ShellLine, Unfit,
};

/// The command line or the configuration is wrong. clap uses the same status.
const WRONG_USAGE: u8 = 2;
/// The named resource does not exist.
const NOT_FOUND: u8 = 3;
/// The service does not answer.
const NO_SERVICE: u8 = 4;

/// A wait took longer than its limit.
const LATE: u8 = 5;
/// The endpoint of a microVM did not pass the request on. `curl --fail` uses the same status.
const ENDPOINT_REFUSED: u8 = 22;

/// The status of a program that SIGINT has ended.
const INTERRUPTED: u8 = 128 + 2;
/// The status of a program that SIGPIPE has ended.
const UNREAD: u8 = 128 + 13;

/// There is no service to call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Absent {
    /// Nothing was ever started with this data directory.
    #[error("no hearth was started with the data directory {} yet", .0.display())]
    NeverStarted(PathBuf),
    /// The one of this data directory is not running.
    #[error("no hearth is running with the data directory {}", .0.display())]
    NotRunning(PathBuf),
}

/// Prints the error and a hint, and answers the exit status.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    tell(error);
    ExitCode::from(status(error))
}

/// Prints the error and a hint.
pub(crate) fn tell(error: &anyhow::Error) {
    if cause::<Unread>(error).is_some() {
        return;
    }
    eprintln!("error: {}", without_error_numbers(&format!("{error:#}")));
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
}

/// The first cause of type `E`, or the context of that type.
fn cause<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    let causes = || error.chain().find_map(|cause| cause.downcast_ref());
    error.downcast_ref().or_else(causes)
}

/// The service's refusal, if there is one.
fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    cause::<ClientError>(error)?.refusal()
}

fn status(error: &anyhow::Error) -> u8 {
    let is_absent = cause::<Absent>(error).is_some()
        || matches!(cause(error), Some(ClientError::Connect { .. }));
    let is_not_found = refusal(error).is_some_and(Refusal::is_not_found)
        || matches!(
            cause(error),
            Some(NameError::NoMicrovm(_) | NameError::NoImage(_) | NameError::NoAccount(_))
        );
    if cause::<Unread>(error).is_some() {
        UNREAD
    } else if is_absent {
        NO_SERVICE
    } else if is_not_found {
        NOT_FOUND
    } else if cause::<ConfigError>(error).is_some() || cause::<Unfit>(error).is_some() {
        WRONG_USAGE
    } else if cause::<EndpointRefused>(error).is_some() {
        ENDPOINT_REFUSED
    } else if matches!(cause(error), Some(WaitError::Late { .. }))
        || matches!(cause(error), Some(FunctionNotReady::Late { .. }))
    {
        LATE
    } else if cause::<BuildInterrupted>(error).is_some()
        || matches!(cause(error), Some(WaitError::Interrupted { .. }))
    {
        INTERRUPTED
    } else {
        1
    }
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if cause::<Absent>(error).is_some() {
        return Some("start it with `hearth up`, or name its data directory with --data");
    }
    if let Some(name) = cause::<NameError>(error) {
        return Some(match name {
            NameError::NoMicrovm(_) => "`hearth ps --all` lists microVMs",
            NameError::NoImage(_) => "`hearth image ls` lists images",
            NameError::NoAccount(_) => "`hearth account ls` lists accounts",
            NameError::ManyMicrovms { .. } => "write more of the id",
            NameError::ManyAccounts { .. } => "write the number",
        });
    }
    if let Some(refused) = cause::<EndpointRefused>(error) {
        return refused.hint();
    }
    if cause::<ShellLine>(error).is_some() {
        return Some(ShellLine::HINT);
    }
    if cause::<BuildInterrupted>(error).is_some() {
        return Some(BuildInterrupted::HINT);
    }
    if cause::<FunctionFailed>(error).is_some() {
        return Some(FunctionFailed::HINT);
    }
    if cause::<FunctionNotReady>(error).is_some() {
        return Some(FunctionNotReady::HINT);
    }
    if let Some(refusal) = refusal(error) {
        return of_function(refusal).or_else(|| of_refusal(refusal));
    }
    if let Some(waited) = cause::<WaitError>(error) {
        return Some(of_wait(waited));
    }
    match cause(error) {
        Some(ClientError::Connect { .. }) => {
            Some("is `hearth up` running? `hearth status` says more")
        }
        Some(ClientError::Handshake { .. }) => {
            Some("certificates come from --data, or from HEARTH_CA_BUNDLE beside AWS_ENDPOINT_URL")
        }
        _ => None,
    }
}

fn of_wait(error: &WaitError) -> &'static str {
    match error {
        WaitError::Ended { .. } => "`hearth logs ID` has its last words",
        WaitError::Failed { state, .. } if state == "RUNNING" => {
            "it lost nothing: `hearth suspend ID` tries again (a request wakes it, where its idle policy says so); \
             `hearth logs ID` and the log of `hearth up` say more"
        }
        WaitError::Failed { .. } => {
            "it lost nothing: `hearth resume ID` tries again; `hearth logs ID` and the log of `hearth up` say more"
        }
        WaitError::Late { .. } => {
            "the service goes on with it: `hearth show ID` tells its state, and --timeout 0 waits without a limit"
        }
        WaitError::Interrupted { .. } => "`hearth show ID` tells its state",
    }
}

/// What helps when the service refuses something about a function.
fn of_function(refusal: &Refusal) -> Option<&'static str> {
    let says = |text: &str| refusal.message.contains(text);
    Some(match refusal.code.as_str() {
        "ResourceNotFoundException" if says("Function not found") => {
            "`hearth function ls` lists functions, `hearth function show NAME` the versions and aliases of one"
        }
        "ResourceConflictException" if says("Function already exist") => {
            "`hearth function update` gives it other code and settings, `hearth function rm NAME` deletes it"
        }
        "ResourceConflictException" if says("Pending") || says("in progress") => {
            "`hearth function show NAME` tells its state; try again when it is Active"
        }
        "InvalidParameterValueException" | "AccessDeniedException" if says("cannot be assumed") => {
            "--role names a role of this account that trusts lambda.amazonaws.com; without --role one is made"
        }
        "InvalidParameterValueException" if says("at 'runtime'") => "--runtime names one of these",
        "TooManyRequestsException" => {
            "all that may run at once is running; try again, or store the event with --async"
        }
        _ => return None,
    })
}

fn of_refusal(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal.code.as_str() {
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId" => {
            "the key is not one of this service: unset the AWS_ variables, or `eval \"$(hearth env)\"`"
        }
        "ConflictException" if refusal.message.contains("PENDING") => {
            "`hearth run --wait` returns when it is RUNNING"
        }
        "ConflictException" if refusal.message.contains("SUSPEND") => {
            "`hearth resume ID` resumes it"
        }
        _ if refusal.message.contains("SHELL_INGRESS") => {
            "`hearth run --shell` starts one that has a shell"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> anyhow::Error {
        let refusal = Refusal {
            operation: "GetMicrovm",
            status,
            code: code.to_owned(),
            message: "x is PENDING".to_owned(),
        };
        anyhow::Error::from(ClientError::from(refusal)).context("while asking")
    }

    #[test]
    fn scripts_can_tell_failures_apart() {
        assert_eq!(
            status(&refused(404, "ResourceNotFoundException")),
            NOT_FOUND
        );
        assert_eq!(status(&refused(400, "ValidationException")), 1);
        assert_eq!(status(&Absent::NotRunning("/x".into()).into()), NO_SERVICE);
        let contradiction = ConfigError::Contradiction(String::new());
        assert_eq!(status(&contradiction.into()), WRONG_USAGE);
        assert_eq!(status(&NameError::NoImage("x".into()).into()), NOT_FOUND);
        assert_eq!(status(&Unread.into()), UNREAD);
        assert_eq!(status(&anyhow::anyhow!("else")), 1);
        let id = "vm".to_owned();
        let interrupted = WaitError::Interrupted {
            id: id.clone(),
            wanted: "RUNNING",
        };
        assert_eq!(status(&interrupted.into()), INTERRUPTED);
        let ended = WaitError::Ended {
            id: id.clone(),
            reason: String::new(),
        };
        assert_eq!(status(&ended.into()), 1);
        let late = WaitError::Late {
            id,
            state: "SUSPENDING".to_owned(),
            wanted: "SUSPENDED",
            reason: String::new(),
            limit: std::time::Duration::from_secs(1),
        };
        assert_eq!(status(&late.clone().into()), LATE);
        assert_eq!(status(&FunctionFailed("x".to_owned()).into()), 1);
        let name = "f".to_owned();
        let not_ready = FunctionNotReady::Late { name, seconds: 1 };
        assert_eq!(status(&not_ready.into()), LATE);
        assert!(hint(&late.into()).unwrap().contains("goes on"));
    }

    #[test]
    fn hints_follow_the_refusal() {
        assert!(
            hint(&refused(409, "ConflictException"))
                .unwrap()
                .contains("--wait")
        );
        assert!(
            hint(&refused(403, "InvalidSignatureException"))
                .unwrap()
                .contains("hearth env")
        );
        assert_eq!(hint(&refused(400, "ValidationException")), None);
        let said = |status, code: &str, message: &str| {
            let refusal = Refusal {
                operation: "GetFunction",
                status,
                code: code.to_owned(),
                message: message.to_owned(),
            };
            hint(&ClientError::from(refusal).into()).unwrap()
        };
        let missing = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:x";
        assert!(said(404, "ResourceNotFoundException", missing).contains("function ls"));
        let there = "Function already exist: x";
        assert!(said(409, "ResourceConflictException", there).contains("function update"));
        let role = "The role defined for the function cannot be assumed by Lambda.";
        assert!(said(400, "InvalidParameterValueException", role).contains("--role"));
        let absent = anyhow::anyhow!("refused").context(Absent::NotRunning("/x".into()));
        assert!(hint(&absent).unwrap().contains("hearth up"));
    }
}
