//! How the application of an image is started: what its container gets (facts section 8).

use hearth_control::arn::ImageArn;
use hearth_control::id::VersionNumber;
use hearth_control::image::{ImageSpec, OsCapabilities};
use hearth_image::Root;
use hearth_wire::agent::StartSpec;
use hearth_wire::service::Service;

/// Host name in the snapshot. Each clone gets its own host name before it runs.
const HOSTNAME: &str = "microvm";

/// Variables by which AWS's clients find S3, CloudWatch Logs and STS. An image or a caller may override them.
const SERVICES: &[&str] = &[
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_STS",
];

/// An image without a program to run.
#[derive(Debug, thiserror::Error)]
#[error("the image has neither ENTRYPOINT nor CMD: it says nothing that could run")]
pub(crate) struct NoProgram;

/// The container of one version. Environment variables of the image come first, then the caller's, then the
/// service's; later ones override earlier ones.
pub(crate) fn start_spec(
    root: &Root,
    image: &ImageArn,
    version: VersionNumber,
    spec: &ImageSpec,
) -> Result<StartSpec, NoProgram> {
    let mut start = root.start_spec(HOSTNAME.to_owned());
    if start.argv.is_empty() {
        return Err(NoProgram);
    }
    start.all_capabilities = spec.capabilities == OsCapabilities::All;
    for name in SERVICES {
        let address = std::net::Ipv4Addr::from(Service::Aws.address());
        start
            .env
            .entry((*name).to_owned())
            .or_insert_with(|| format!("http://{address}"));
    }
    if let Some(own) = &spec.environment {
        start.env.extend(own.0.clone());
    }
    start.env.extend(
        [
            ("AWS_LAMBDA_MICROVM_IMAGE_NAME", image.name.to_string()),
            ("AWS_LAMBDA_MICROVM_IMAGE_ARN", image.to_string()),
            ("AWS_LAMBDA_MICROVM_IMAGE_VERSION", version.to_string()),
            ("AWS_REGION", image.scope.region.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Ok(start)
}
