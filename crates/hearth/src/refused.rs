//! Failures of commands that say what to do.

use hearth_client::ClientError;
use http::StatusCode;

/// What was typed cannot work, which is known before the service is asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(pub(crate) String);

/// The user does not want to wait for a build any longer.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; the service goes on with the build of {0}")]
pub(crate) struct BuildInterrupted(pub(crate) String);

impl BuildInterrupted {
    /// How to go on.
    pub(crate) const HINT: &str =
        "`hearth logs NAME -f` follows the build, `hearth image rm NAME` ends it";
}

/// A function answered with an error. Its object is on standard output.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct FunctionFailed(pub(crate) String);

impl FunctionFailed {
    /// How to go on.
    pub(crate) const HINT: &str =
        "`hearth function logs NAME` has what it wrote; --log prints the end of it with the answer";
}

/// A function did not become ready.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FunctionNotReady {
    /// It cannot any more.
    #[error("{name} is not ready: {reason}")]
    Failed {
        /// The function.
        name: String,
        /// What the service says.
        reason: String,
    },
    /// It takes too long.
    #[error("{name} is not ready still after {seconds} s; the service goes on with it")]
    Late {
        /// The function.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
}

impl FunctionNotReady {
    /// How to go on.
    pub(crate) const HINT: &str = "`hearth function show NAME` tells its state";
}

/// The endpoint gave the answer, not the application.
#[derive(Debug, thiserror::Error)]
#[error("{status}{}", said(.words))]
pub(crate) struct EndpointRefused {
    pub(crate) status: StatusCode,
    /// What `x-hearth-reason` says.
    pub(crate) reason: String,
    /// The body.
    pub(crate) words: String,
}

fn said(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!(": {words}"),
    }
}

impl EndpointRefused {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self.reason.as_str() {
            "suspended" => {
                "`hearth resume ID` resumes it; one that is run with --idle is woken by requests"
            }
            "pending" => "`hearth run --wait` returns when it is RUNNING",
            "ended" => "`hearth logs ID` has its last words",
            "nothing-listens" => {
                "`hearth logs ID` tells what the application does; --port names another port"
            }
            "not-resumed" => "`hearth show ID` has the reason, and `hearth resume ID` tries again",
            "hung-up" | "not-http" | "head-too-large" | "tls-failed" => {
                "`hearth logs ID` tells what the application does"
            }
            _ => return None,
        })
    }
}

/// A line of a shell where the name of a program belongs: `hearth exec ID 'ls -l'`.
#[derive(Debug, thiserror::Error)]
#[error("there is no program named {0:?}")]
pub(crate) struct ShellLine(String);

impl ShellLine {
    /// What to write instead.
    pub(crate) const HINT: &str = "each word is an argument of its own; `hearth exec ID -- sh -c 'ls -l | head'` gives a \
                                   line to a shell";

    /// The words, if they look like a line of a shell and the guest has found no such program.
    pub(crate) fn of(command: &[String], error: &ClientError) -> Option<Self> {
        let [only] = command else { return None };
        let looks_like_line = only.contains([' ', '|', '&', ';', '<', '>', '$']);
        (looks_like_line && error.is_not_found()).then(|| Self(only.clone()))
    }
}

#[cfg(test)]
mod tests {
    use hearth_client::Refusal;

    use super::*;

    #[test]
    fn the_endpoints_reason_is_told_with_what_helps() {
        let refused = |reason: &str, words: &str| EndpointRefused {
            status: StatusCode::BAD_GATEWAY,
            reason: reason.to_owned(),
            words: words.to_owned(),
        };
        let suspended = refused("suspended", "The microVM is SUSPENDED.");
        assert_eq!(
            suspended.to_string(),
            "502 Bad Gateway: The microVM is SUSPENDED."
        );
        assert!(suspended.hint().unwrap().contains("hearth resume"));
        assert_eq!(refused("new", "").to_string(), "502 Bad Gateway");
        assert!(refused("new", "").hint().is_none());
    }

    #[test]
    fn a_line_of_a_shell_is_told_from_a_program() {
        let refused = |status| {
            ClientError::from(Refusal {
                operation: "ExecMicrovm",
                status,
                code: "ResourceNotFoundException".to_owned(),
                message: "No such file or directory".to_owned(),
            })
        };
        let is_line = |words: &[&str], error: &ClientError| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            ShellLine::of(&words, error).is_some()
        };
        assert!(is_line(&["ls -l"], &refused(404)));
        assert!(is_line(&["cd /tmp;ls"], &refused(404)));
        assert!(!is_line(&["ls"], &refused(404)));
        assert!(!is_line(&["ls", "-l /tmp"], &refused(404)));
        let cut_off = ClientError::CutOff("ExecMicrovm");
        assert!(!is_line(&["ls -l"], &cut_off));
    }
}
