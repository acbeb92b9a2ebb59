//! Reads the specification of an image from `CreateMicrovmImage` and `UpdateMicrovmImage`.

use std::collections::BTreeMap;

use hearth_control::arn::ManagedImageArn;
use hearth_control::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use hearth_control::image::{
    Architecture, ArtifactUri, Environment, ImageSpec, Logging, MemoryTier, OsCapabilities,
    RESERVED_VARIABLES,
};

use super::identifiers::connectors;
use crate::fault::Fault;
use crate::lambda::refusal;
use crate::model::lambda_microvms as model;
use crate::model::values::Sensitive;

/// The default size (facts section 8).
const DEFAULT_TIER: MemoryTier = MemoryTier::Mib2048;

/// Converts to the domain's form. Fills in the defaults of AWS.
pub(super) fn image_spec(wanted: model::ImageSpecification) -> Result<ImageSpec, Fault> {
    let base = base(&wanted.base_image_arn, wanted.base_image_version.as_deref())?;
    let (base, base_version) = base;
    let tier = tier(wanted.resources.as_deref(), &wanted.base_image_arn)?;
    let environment = wanted.environment_variables.map(environment).transpose()?;
    let capabilities = wanted.additional_os_capabilities.unwrap_or_default();
    let model::CodeArtifact::Uri(uri) = wanted.code_artifact;
    Ok(ImageSpec {
        base,
        base_version,
        build_role_arn: wanted.build_role_arn,
        description: wanted.description,
        artifact: artifact(&uri)?,
        logging: wanted.logging.map(logging),
        egress: connectors(wanted.egress_network_connectors)?,
        cpu_architectures: wanted.cpu_configurations.map(|list| architectures(&list)),
        tier,
        capabilities: match capabilities.first() {
            None => OsCapabilities::Container,
            Some(model::Capability::All) => OsCapabilities::All,
        },
        hooks: wanted.hooks.map(hooks),
        environment,
    })
}

/// The base image, and its version if one is named: a bare number, unlike "1.0" in answers.
fn base(arn: &str, version: Option<&str>) -> Result<(ManagedImageArn, Option<u32>), Fault> {
    let unavailable = || Fault::validation(refusal::no_base(arn, version));
    let base = arn.parse().map_err(|_| unavailable())?;
    let number = version
        .map(str::parse)
        .transpose()
        .map_err(|_| unavailable())?;
    Ok((base, number))
}

fn tier(resources: Option<&[model::Resources]>, base: &str) -> Result<MemoryTier, Fault> {
    let Some([resources]) = resources else {
        return Ok(DEFAULT_TIER);
    };
    let asked_mib = resources.minimum_memory_in_mib;
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

fn environment(variables: BTreeMap<String, Sensitive>) -> Result<Environment, Fault> {
    match RESERVED_VARIABLES
        .iter()
        .find(|name| variables.contains_key(**name))
    {
        None => Ok(Environment(
            variables
                .into_iter()
                .map(|(name, value)| (name, value.0))
                .collect(),
        )),
        Some(name) => Err(Fault::validation(format!(
            "The environment variables contain reserved keys that are currently not supported \
             for modification. Reserved keys used in this request: {name}"
        ))),
    }
}

fn architectures(configurations: &[model::CpuConfiguration]) -> Vec<Architecture> {
    let configurations = configurations.iter();
    configurations.map(|cpu| cpu.architecture.into()).collect()
}

pub(super) fn logging(wanted: model::Logging) -> Logging {
    match wanted {
        model::Logging::Disabled {} => Logging::Disabled,
        model::Logging::CloudWatch(cloud_watch) => Logging::CloudWatch {
            group: cloud_watch.log_group,
            stream: cloud_watch.log_stream,
        },
    }
}

fn setting(switch: Option<model::HookState>, timeout_s: Option<u32>) -> HookSetting {
    HookSetting {
        enabled: switch.map(|switch| switch == model::HookState::Enabled),
        timeout_s,
    }
}

fn hooks(wanted: model::Hooks) -> Hooks {
    Hooks {
        port: wanted.port,
        microvm: wanted.microvm_hooks.map(|hooks| MicrovmHooks {
            run: setting(hooks.run, hooks.run_timeout_in_seconds),
            resume: setting(hooks.resume, hooks.resume_timeout_in_seconds),
            suspend: setting(hooks.suspend, hooks.suspend_timeout_in_seconds),
            terminate: setting(hooks.terminate, hooks.terminate_timeout_in_seconds),
        }),
        image: wanted.microvm_image_hooks.map(|hooks| ImageHooks {
            ready: setting(hooks.ready, hooks.ready_timeout_in_seconds),
            validate: setting(hooks.validate, hooks.validate_timeout_in_seconds),
        }),
    }
}
