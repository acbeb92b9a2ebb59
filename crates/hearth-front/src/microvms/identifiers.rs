//! Reads identifiers from requests, and refuses those that name nothing, in the words of AWS.

use hearth_control::arn::{
    ArnError, ConnectorRef, ConnectorRefError, ImageArn, ManagedImageArn, TaggedArn,
};
use hearth_control::id::{BuildId, MicrovmId, VersionNumber};

use crate::fault::Fault;
use crate::lambda::{Context, refusal};

/// Page size if the request sets none: also the largest that the model allows.
const PAGE_LIMIT: u32 = 50;

fn not_found(message: String) -> Fault {
    Fault::new(404, "ResourceNotFoundException", message)
}

pub(super) fn page_limit(max_results: Option<u32>) -> u32 {
    max_results.unwrap_or(PAGE_LIMIT)
}

pub(super) fn microvm_id(text: &str) -> Result<MicrovmId, Fault> {
    text.parse()
        .map_err(|_| not_found(format!("MicroVM not found: {text}")))
}

/// An image by its ARN, which is the only name that image operations accept.
pub(super) fn image_arn(context: &Context<'_>, text: &str) -> Result<ImageArn, Fault> {
    text.parse().map_err(|error| match error {
        ArnError::NotAnArn => Fault::validation(format!("Invalid ARN format: {text}")),
        // IAM checks an ARN before Lambda does: a resource that is not the caller's is denied.
        ArnError::Foreign | ArnError::Resource => context.access_denied(),
    })
}

/// An image to launch from. `RunMicrovm` refuses malformed ARNs in other words.
pub(super) fn launchable_arn(context: &Context<'_>, text: &str) -> Result<ImageArn, Fault> {
    if !text.starts_with("arn:") {
        return Err(Fault::validation(
            "Malformed ARN - doesn't start with 'arn:'",
        ));
    }
    image_arn(context, text)
}

pub(super) fn managed_image_arn(
    context: &Context<'_>,
    text: &str,
) -> Result<ManagedImageArn, Fault> {
    text.parse().map_err(|error| match error {
        ArnError::NotAnArn => Fault::validation(format!("Invalid ARN format: {text}")),
        ArnError::Foreign | ArnError::Resource => context.access_denied(),
    })
}

pub(super) fn tagged_arn(context: &Context<'_>, text: &str) -> Result<TaggedArn, Fault> {
    text.parse().map_err(|error| match error {
        ArnError::NotAnArn => Fault::validation(format!("Invalid ARN format: {text}")),
        ArnError::Foreign => context.access_denied(),
        ArnError::Resource => {
            not_found(format!("MicroVMImage not found for MicroVMImageID: {text}"))
        }
    })
}

pub(super) fn version_number(arn: &ImageArn, text: &str) -> Result<VersionNumber, Fault> {
    text.parse()
        .map_err(|_| not_found(refusal::version_not_found(arn, &text)))
}

pub(super) fn build_id(
    arn: &ImageArn,
    version: VersionNumber,
    text: &str,
) -> Result<BuildId, Fault> {
    text.parse().map_err(|_| {
        not_found(format!(
            "{}, Build: {text}",
            refusal::version_not_found(arn, &version)
        ))
    })
}

/// Network connectors by their ARNs. An absent list is the same as an empty one.
pub(super) fn connectors(arns: Option<Vec<String>>) -> Result<Vec<ConnectorRef>, Fault> {
    arns.unwrap_or_default()
        .iter()
        .map(|arn| connector(arn))
        .collect()
}

fn connector(arn: &str) -> Result<ConnectorRef, Fault> {
    arn.parse().map_err(|error| match error {
        ConnectorRefError::Malformed => {
            Fault::validation(format!("Malformed network connector ARN: {arn}"))
        }
        ConnectorRefError::UnknownManaged => {
            Fault::validation(format!("Unrecognized managed network connector ARN: {arn}"))
        }
    })
}
