//! What an image is made from, as `CreateMicrovmImage` and `UpdateMicrovmImage` say it.

use std::collections::BTreeMap;

use hearth_control::arn::ManagedImageArn;
use hearth_control::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use hearth_control::image::{
    Architecture, ArtifactUri, Environment, ImageSpec, Logging, MemoryTier, OsCapabilities,
};
use serde::Deserialize;

use super::identifiers::connectors;
use crate::aws_strings::Word;
use crate::fault::Fault;
use crate::lambda::refusal;

/// The default size (facts section 8).
const DEFAULT_TIER: MemoryTier = MemoryTier::Mib2048;

/// Variables that the service sets itself.
const RESERVED_VARIABLES: [&str; 5] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_LAMBDA_MICROVM_IMAGE_NAME",
    "AWS_LAMBDA_MICROVM_IMAGE_ARN",
    "AWS_LAMBDA_MICROVM_IMAGE_VERSION",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpecRequest {
    base_image_arn: String,
    base_image_version: Option<String>,
    build_role_arn: String,
    description: Option<String>,
    code_artifact: ArtifactRequest,
    logging: Option<LoggingRequest>,
    egress_network_connectors: Option<Vec<String>>,
    cpu_configurations: Option<Vec<CpuRequest>>,
    resources: Option<Vec<ResourcesRequest>>,
    additional_os_capabilities: Option<Vec<String>>,
    hooks: Option<HooksRequest>,
    environment_variables: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct ArtifactRequest {
    uri: String,
}

#[derive(Deserialize)]
struct CpuRequest {
    architecture: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourcesRequest {
    #[serde(rename = "minimumMemoryInMiB")]
    minimum_memory_mib: i64,
}

/// A union: one of the two is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggingRequest {
    cloud_watch: Option<CloudWatchRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CloudWatchRequest {
    log_group: Option<String>,
    log_stream: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HooksRequest {
    port: Option<u16>,
    microvm_hooks: Option<MicrovmHooksRequest>,
    microvm_image_hooks: Option<ImageHooksRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MicrovmHooksRequest {
    run: Option<String>,
    run_timeout_in_seconds: Option<u32>,
    resume: Option<String>,
    resume_timeout_in_seconds: Option<u32>,
    suspend: Option<String>,
    suspend_timeout_in_seconds: Option<u32>,
    terminate: Option<String>,
    terminate_timeout_in_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageHooksRequest {
    ready: Option<String>,
    ready_timeout_in_seconds: Option<u32>,
    validate: Option<String>,
    validate_timeout_in_seconds: Option<u32>,
}

impl SpecRequest {
    /// The domain's form, with AWS's defaults filled in.
    pub(super) fn into_spec(self) -> Result<ImageSpec, Fault> {
        let base = base(&self.base_image_arn, self.base_image_version.as_deref())?;
        let (base, base_version) = base;
        let tier = tier(self.resources.as_deref(), &self.base_image_arn)?;
        let environment = self.environment_variables.map(environment).transpose()?;
        let capabilities = self.additional_os_capabilities.unwrap_or_default();
        Ok(ImageSpec {
            base,
            base_version,
            build_role_arn: self.build_role_arn,
            description: self.description,
            artifact: artifact(&self.code_artifact.uri)?,
            logging: self.logging.map(Into::into),
            egress: connectors(self.egress_network_connectors)?,
            cpu_architectures: self.cpu_configurations.map(|list| architectures(&list)),
            tier,
            // The enumeration has one word, and the table has checked it.
            capabilities: match capabilities.is_empty() {
                true => OsCapabilities::Container,
                false => OsCapabilities::All,
            },
            hooks: self.hooks.map(Hooks::from),
            environment,
        })
    }
}

/// The base image, and the version when one is named: a bare number, unlike the answer's "1.0".
fn base(arn: &str, version: Option<&str>) -> Result<(ManagedImageArn, Option<u32>), Fault> {
    let unavailable = || Fault::validation(refusal::no_base(arn, version));
    let base = arn.parse().map_err(|_| unavailable())?;
    let number = version
        .map(str::parse)
        .transpose()
        .map_err(|_| unavailable())?;
    Ok((base, number))
}

fn tier(resources: Option<&[ResourcesRequest]>, base: &str) -> Result<MemoryTier, Fault> {
    let Some([resources]) = resources else {
        return Ok(DEFAULT_TIER);
    };
    let asked_mib = resources.minimum_memory_mib;
    let tier = u32::try_from(asked_mib)
        .ok()
        .and_then(MemoryTier::from_baseline_mib);
    tier.ok_or_else(|| {
        let sizes = MemoryTier::ALL
            .map(|tier| tier.baseline_mib().to_string())
            .join(", ");
        Fault::validation(format!(
            "The requested memory size of {asked_mib} MiB is not supported by base MicroVM image \
             {base}. Supported memory sizes in MiB are: [{sizes}]."
        ))
    })
}

fn artifact(uri: &str) -> Result<ArtifactUri, Fault> {
    uri.strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .map(|(bucket, key)| ArtifactUri {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
        .ok_or_else(|| {
            Fault::validation(
                "CodeArtifact URI must be a valid S3 URI in the format: s3://<bucket>/<key>",
            )
        })
}

fn environment(variables: BTreeMap<String, String>) -> Result<Environment, Fault> {
    match RESERVED_VARIABLES
        .iter()
        .find(|name| variables.contains_key(**name))
    {
        None => Ok(Environment(variables)),
        Some(name) => Err(Fault::validation(format!(
            "The environment variables contain reserved keys that are currently not supported \
             for modification. Reserved keys used in this request: {name}"
        ))),
    }
}

fn architectures(configurations: &[CpuRequest]) -> Vec<Architecture> {
    configurations
        .iter()
        .filter_map(|cpu| Architecture::from_text(&cpu.architecture))
        .collect()
}

impl From<LoggingRequest> for Logging {
    fn from(request: LoggingRequest) -> Self {
        match request.cloud_watch {
            None => Self::Disabled,
            Some(cloud_watch) => Self::CloudWatch {
                group: cloud_watch.log_group,
                stream: cloud_watch.log_stream,
            },
        }
    }
}

fn setting(switch: Option<&str>, timeout_s: Option<u32>) -> HookSetting {
    HookSetting {
        enabled: switch.map(|switch| switch == "ENABLED"),
        timeout_s,
    }
}

impl From<HooksRequest> for Hooks {
    fn from(request: HooksRequest) -> Self {
        Self {
            port: request.port,
            microvm: request.microvm_hooks.map(|hooks| MicrovmHooks {
                run: setting(hooks.run.as_deref(), hooks.run_timeout_in_seconds),
                resume: setting(hooks.resume.as_deref(), hooks.resume_timeout_in_seconds),
                suspend: setting(hooks.suspend.as_deref(), hooks.suspend_timeout_in_seconds),
                terminate: setting(
                    hooks.terminate.as_deref(),
                    hooks.terminate_timeout_in_seconds,
                ),
            }),
            image: request.microvm_image_hooks.map(|hooks| ImageHooks {
                ready: setting(hooks.ready.as_deref(), hooks.ready_timeout_in_seconds),
                validate: setting(hooks.validate.as_deref(), hooks.validate_timeout_in_seconds),
            }),
        }
    }
}
