//! The table that maps refusals of the domain to the codes and texts of AWS (facts section 4).

use std::time::Duration;

use hearth_control::host::ArtifactRefusal;
use hearth_control::image::ArtifactUri;
use hearth_control::{ControlError, Refusal};

use super::Context;
use crate::aws_strings::Word;
use crate::fault::Fault;
use crate::wire::json::Family;

pub(super) fn fault(context: &Context<'_>, error: ControlError) -> Fault {
    match error {
        ControlError::Refused(refusal) => match context.operation.family() {
            Family::Microvms => microvms(context, &refusal),
            // Of functions control knows rates and tokens of pages alone.
            Family::Core | Family::Functions => core(context, &refusal),
        },
        other => failure(context.operation.family(), &other),
    }
}

/// A failure of the service. Shutting down is ordinary; anything else is logged.
fn failure(family: Family, error: &ControlError) -> Fault {
    if !matches!(error, ControlError::Closed) {
        tracing::error!(error = error as &dyn std::error::Error, "a request failed");
    }
    internal(family).retry_after(1)
}

/// A refusal of one of Hearth's own operations, which have no model and answer like `lambda-microvms`.
pub(crate) fn outside_lambda(error: ControlError) -> Fault {
    match error {
        ControlError::Refused(refusal) => microvm_limits(&refusal),
        other => failure(Family::Microvms, &other),
    }
}

fn throttled(retry_after: Duration) -> Fault {
    Fault::new(429, "ThrottlingException", "Rate exceeded").retry_after(whole_seconds(retry_after))
}

/// The denial of IAM for a resource that the caller may not use.
pub(super) fn access_denied(context: &Context<'_>) -> Fault {
    let action = context.operation.name();
    Fault::new(
        403,
        "AccessDeniedException",
        format!(
            "User: {} is not authorized to perform: lambda:{action} on resource: {} \
             because no identity-based policy allows the lambda:{action} action",
            context.caller.arn(),
            context.resource
        ),
    )
}

/// A failure of the service, in the words of a family.
pub(crate) fn internal(family: Family) -> Fault {
    let code = match family {
        Family::Microvms => "InternalServerException",
        Family::Core | Family::Functions => "ServiceException",
    };
    Fault::new(500, code, "An internal error occurred. Please retry.")
}

fn not_found(message: String) -> Fault {
    Fault::new(404, "ResourceNotFoundException", message)
}

fn conflict(message: impl Into<String>) -> Fault {
    Fault::new(409, "ConflictException", message)
}

fn quota(message: impl Into<String>) -> Fault {
    Fault::new(402, "ServiceQuotaExceededException", message)
}

/// `Retry-After` in whole seconds, at least one.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000))
        .unwrap_or(u32::MAX)
        .max(1)
}

fn microvms(context: &Context<'_>, refusal: &Refusal) -> Fault {
    use Refusal as R;
    match refusal {
        R::ForeignScope => access_denied(context),
        other => microvm_limits(other),
    }
}

/// Refusals because something is used up: a rate, a quota, capacity, or a client token.
fn microvm_limits(refusal: &Refusal) -> Fault {
    use Refusal as R;
    match refusal {
        R::BadCursor => Fault::validation("Invalid nextToken"),
        R::Throttled { retry_after } => throttled(*retry_after),
        R::TokenConflict => {
            conflict("The client token was already used with different request parameters.")
        }
        R::InsufficientCapacity => Fault::new(
            500,
            "InsufficientCapacityException",
            "There is not enough capacity to run the MicroVM. Please try again later.",
        ),
        R::MemoryQuota(_) => quota(
            "The base maximum allocated memory limit has been reached for this account (setting quotas.memory_mib).",
        ),
        R::MicrovmQuota { account, max } => quota(format!(
            "Account {account} has reached the maximum number of MicroVMs: {max} (setting quotas.microvms)."
        )),
        R::ImageQuota { account, max } => quota(format!(
            "Account {account} has reached the maximum number of images: {max} (setting quotas.images)."
        )),
        R::VersionQuota { image, max } => quota(format!(
            "{image} has reached the maximum number of versions: {max} (setting quotas.versions_per_image)."
        )),
        R::BuildQuota(account) => quota(format!(
            "Account {account} has reached the maximum number of concurrent builds allowed (setting quotas.concurrent_builds)."
        )),
        R::TagQuota { max } => {
            Fault::validation(format!("A resource cannot have more than {max} tags"))
        }
        other => microvm_resources(other),
    }
}

/// Refusals about an image, a version, a build or a microVM.
fn microvm_resources(refusal: &Refusal) -> Fault {
    use Refusal as R;
    match refusal {
        R::ImageNotFound(arn) => {
            not_found(format!("MicroVMImage not found for MicroVMImageID: {arn}"))
        }
        R::TaggedNotFound(arn) => {
            not_found(format!("MicroVMImage not found for MicroVMImageID: {arn}"))
        }
        R::ManagedImageNotFound(arn) => {
            not_found(format!("MicroVMImage not found for MicroVMImageID: {arn}"))
        }
        R::VersionNotFound(arn, version) => not_found(version_not_found(arn, version)),
        R::BuildNotFound(arn, version, build) => not_found(format!(
            "{}, Build: {build}",
            version_not_found(arn, version)
        )),
        R::BaseVersionUnavailable { base, version } => {
            let version = version.map(|version| version.to_string());
            Fault::validation(no_base(&base.to_string(), version.as_deref()))
        }
        R::ImageNameTaken(name) => Fault::validation(format!(
            "A MicroVM image with the name '{name}' already exists in this account"
        )),
        R::ImageBusy(_, state) => conflict(format!(
            "MicroVM Image is already in state: {}",
            state.text()
        )),
        R::ImageNotDeletable(_, state) => Fault::validation(format!(
            "Cannot delete MicroVM image in its current state: {}",
            state.text()
        )),
        R::NoBuildUnderWay(_, state) => conflict(format!(
            "MicroVM image has no build that could be cancelled; it is in state: {}",
            state.text()
        )),
        R::ArtifactUnreadable(uri, why) => Fault::validation(artifact_unreadable(uri, *why)),
        R::VersionNotReady(arn, version) => conflict(format!(
            "Version {version} of MicroVM image {arn} has not been built"
        )),
        R::LastVersion(_) => {
            Fault::validation("This is the last version. Please delete the entire image")
        }
        R::LiveMicrovms(_) => {
            Fault::validation("Cannot delete microvm image with running microvms.")
        }
        R::ReadyHookMissing => Fault::validation(
            "The ready (/ready) MicroVM image hook must be enabled when any MicroVM lifecycle hook \
             (run, resume, suspend, or terminate) is enabled.",
        ),
        R::HookPortMissing => {
            Fault::validation("The hooks port must be specified when any hook is enabled.")
        }
        R::NoActiveVersion { image, version } => not_found(no_active_version(
            &image.to_string(),
            version.map(|version| version.to_string()).as_deref(),
        )),
        R::PayloadWithoutRunHook => Fault::validation(
            "The run hook must be enabled in the MicroVM image to pass the run hook payload",
        ),
        R::WrongDirection(arn) | R::ConnectorUnusable(arn) => {
            Fault::validation(format!("Network connector cannot be used: {arn}"))
        }
        R::ForkFailed(id) => Fault::new(
            500,
            "InternalServerException",
            format!("The MicroVM {id} could not be forked. Please retry if it still is RUNNING or SUSPENDED."),
        )
        .retry_after(1),
        R::MicrovmNotFound(id) => not_found(format!("MicroVM not found: {id}")),
        R::MicrovmTerminated(id) => Fault::validation(terminated(&id.to_string())),
        R::MicrovmBusy(id, state) => conflict(format!(
            "MicroVM {id} is in state {} and cannot be changed",
            state.text()
        )),
        other => Fault::internal(&format!("a refusal of another family: {other:?}")),
    }
}

/// The reason in S3's words. What AWS says here was not measured.
fn artifact_unreadable(uri: &ArtifactUri, why: ArtifactRefusal) -> String {
    let (words, code) = match why {
        ArtifactRefusal::NoBucket => ("The specified bucket does not exist", "NoSuchBucket"),
        ArtifactRefusal::NoKey => ("The specified key does not exist.", "NoSuchKey"),
        ArtifactRefusal::Denied => ("Access Denied", "AccessDenied"),
    };
    format!("CodeArtifact {uri} cannot be read: {words} (Service: S3, Code: {code})")
}

pub(crate) fn version_not_found(arn: &impl ToString, version: &impl ToString) -> String {
    let (arn, version) = (arn.to_string(), version.to_string());
    format!("MicroVMImage not found for MicroVMImage: {arn}, Version: {version}")
}

pub(crate) fn no_active_version(image: &str, version: Option<&str>) -> String {
    let version = version
        .map(|version| format!(" and version {version}"))
        .unwrap_or_default();
    format!("No active version found for MicroVM image {image}{version}")
}

pub(crate) fn no_base(base: &str, version: Option<&str>) -> String {
    let version = version
        .map(|version| format!(" and version {version}"))
        .unwrap_or_default();
    format!("No managed MicroVM Image with arn {base}{version} is available")
}

pub(crate) fn terminated(microvm: &str) -> String {
    format!("The MicroVM {microvm} has been terminated and its state cannot be changed.")
}

fn core(context: &Context<'_>, refusal: &Refusal) -> Fault {
    use Refusal as R;
    let invalid = |message: &str| Fault::new(400, "InvalidParameterValueException", message);
    let conflict = |message: String| Fault::new(409, "ResourceConflictException", message);
    match refusal {
        R::ForeignScope => access_denied(context),
        R::BadCursor => invalid("Invalid marker"),
        R::Throttled { retry_after } => {
            Fault::new(429, "TooManyRequestsException", "Rate exceeded")
                .retry_after(whole_seconds(*retry_after))
        }
        R::TokenConflict => {
            conflict("The client token was already used with different parameters.".to_owned())
        }
        R::ConnectorNotFound(_) => not_found(format!(
            "Network connector not found for: {}",
            context.resource
        )),
        R::ConnectorNameTaken(name) => conflict(format!(
            "A network connector with the name '{name}' already exists"
        )),
        R::ConnectorBusy(_, state) => conflict(format!(
            "The network connector is in state {}",
            state.text()
        )),
        R::ConnectorInUse(_) => {
            conflict("The network connector is used by MicroVM images or MicroVMs".to_owned())
        }
        R::LatestConnectorVersion(_) => {
            invalid("The latest version of a network connector cannot be deleted")
        }
        R::ConnectorQuota { max } => Fault::new(
            400,
            "NetworkConnectorLimitExceededException",
            format!(
                "The limit of {max} has been reached (settings quotas.connectors and quotas.versions_per_connector)"
            ),
        ),
        R::TagQuota { .. } => invalid("Too many tags"),
        other => Fault::internal(&format!("a refusal of another family: {other:?}")),
    }
}
