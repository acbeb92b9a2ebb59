//! The error type of builds: gives a sentence for `stateReason` in AWS's words, and the cause for the build log.

use std::time::Duration;

use hearth_control::guest_call::CallOutcome;
use hearth_control::hooks::Hook;
use hearth_image::{BuildError, GuestError};
use hearth_node::with_causes;
use hearth_wire::agent::ExitStatus;

use crate::application::NoProgram;
use crate::fetch_error::FetchError;
use crate::monitor::exit_code;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersionBuildError {
    #[error("the artifact cannot be read")]
    Fetch(#[from] FetchError),
    #[error("the root file system cannot be built")]
    Root(#[from] BuildError),
    #[error("the application cannot be started")]
    Start(#[source] hearth_node::NodeError),
    #[error("the application cannot be started")]
    NoProgram(#[from] NoProgram),
    #[error("the application ended with exit code {}", exit_code(*.0))]
    Exited(ExitStatus),
    #[error("the {0:?} hook answered {1:?}")]
    Hook(Hook, CallOutcome),
    #[error("the {hook:?} hook did not answer 200 in time")]
    TimedOut { hook: Hook, limit: Duration },
    #[error("the snapshot failed")]
    Seal(#[source] hearth_node::NodeError),
    #[error("no microVM could be launched from the snapshot")]
    Clone(#[source] hearth_node::NodeError),
    #[error("the disk of the build failed")]
    Disk(#[from] std::io::Error),
}

/// The `stateReason` of failures that the customer has not caused.
const INTERNAL: &str = "The build failed because of an internal error.";

impl VersionBuildError {
    /// The text for `stateReason` (facts section 6, "observed reasons are sentences"; those for artifacts are Hearth's
    /// own, modelled on AWS's codes).
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Fetch(FetchError::NoBucket(_)) => {
                "The S3 bucket of the code artifact does not exist.".to_owned()
            }
            Self::Fetch(FetchError::NoKey(_)) => {
                "The S3 object of the code artifact does not exist.".to_owned()
            }
            Self::Fetch(FetchError::Forbidden(_) | FetchError::Denied { .. }) => {
                "Access to the S3 object of the code artifact was denied.".to_owned()
            }
            Self::Fetch(FetchError::Unreachable(_) | FetchError::Ended) => {
                "The S3 object of the code artifact could not be read.".to_owned()
            }
            Self::Fetch(FetchError::Artifact(error))
            | Self::Root(BuildError::Guest(GuestError::Artifact(error))) => {
                format!("The code artifact is not valid: {error}.")
            }
            Self::Root(
                BuildError::Machine(_)
                | BuildError::Listen(_)
                | BuildError::Guest(_)
                | BuildError::Layer { .. },
            ) => INTERNAL.to_owned(),
            // What went wrong in the Dockerfile stands in the build log.
            Self::Root(_) => "The container image build failed.".to_owned(),
            Self::NoProgram(_) => "The container image has no command to run.".to_owned(),
            Self::Exited(status) => {
                format!("Container Stopped with Exit Code: {}", exit_code(*status))
            }
            Self::Hook(hook, CallOutcome::Status(status)) => {
                let (whose, class) = if (400..500).contains(status) {
                    ("client", "4xx")
                } else {
                    ("server", "5xx")
                };
                let title = hook.title();
                format!(
                    "{title} hook check failed: the application returned a {whose} error (HTTP {class}) response"
                )
            }
            Self::Hook(hook, _) => format!("{} hook check failed.", hook.title()),
            Self::TimedOut { hook, limit } => {
                let limit = iso_duration(*limit);
                format!("{} hook invocation timed out after {limit}", hook.title())
            }
            Self::Fetch(_) | Self::Start(_) | Self::Seal(_) | Self::Clone(_) | Self::Disk(_) => {
                INTERNAL.to_owned()
            }
        }
    }

    /// The cause, for the build log.
    pub(crate) fn cause(&self) -> String {
        with_causes(self)
    }
}

/// Formats whole seconds as an ISO 8601 duration: `PT1M30S`.
fn iso_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, 'H'),
        (seconds % 3600 / 60, 'M'),
        (seconds % 60, 'S'),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() {
        "PT0S".to_owned()
    } else {
        format!("PT{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_sentences_that_were_observed() {
        let limit = Duration::from_secs(300);
        let timed_out = VersionBuildError::TimedOut {
            hook: Hook::Ready,
            limit,
        };
        assert_eq!(
            timed_out.reason(),
            "Ready hook invocation timed out after PT5M"
        );
        let refused = VersionBuildError::Hook(Hook::Validate, CallOutcome::Status(404));
        assert_eq!(
            refused.reason(),
            "Validate hook check failed: the application returned a client error (HTTP 4xx) response"
        );
        assert_eq!(
            VersionBuildError::Exited(ExitStatus::Signal(9)).reason(),
            "Container Stopped with Exit Code: 137"
        );
    }

    #[test]
    fn what_a_dockerfile_fails_of_is_told_by_the_build_log() {
        use hearth_image::Failure as OfImage;
        let reason = "STEP 2/3".to_owned();
        let base = "hearth/debian:12".to_owned();
        for (failure, cause) in [
            (
                OfImage::UnknownImage {
                    reason: reason.clone(),
                },
                "",
            ),
            (
                OfImage::ShortName {
                    reason: reason.clone(),
                    base,
                },
                "say FROM hearth/debian:12",
            ),
            (
                OfImage::DiskFull {
                    reason,
                    usage: hearth_image::Usage::default(),
                },
                "the disk of the build is full",
            ),
        ] {
            let failure = VersionBuildError::from(BuildError::Failed(failure));
            assert_eq!(failure.reason(), "The container image build failed.");
            let told = failure.cause();
            assert!(told.contains("STEP 2/3") && told.contains(cause), "{told}");
        }
    }

    #[test]
    fn durations_name_only_what_they_have() {
        for (seconds, text) in [(0, "PT0S"), (30, "PT30S"), (90, "PT1M30S"), (3600, "PT1H")] {
            assert_eq!(iso_duration(Duration::from_secs(seconds)), text);
        }
    }
}
