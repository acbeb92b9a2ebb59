//! Versions and their builds.

use hearth_control::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use hearth_control::image::{
    Architecture, Build, BuildSizes, ImageSpec, ImageVersion, Logging, OsCapabilities,
};
use serde_json::{Map, Value, json};

use super::{arns, time};
use crate::aws_strings::Word;

/// One version, in every operation that answers with one.
pub(crate) fn version(version: &ImageVersion) -> Value {
    let mut members = spec_members(&version.spec);
    let more = [
        ("createdAt", time(version.created_at)),
        ("imageArn", json!(version.image.to_string())),
        ("imageVersion", json!(version.number.to_string())),
        ("state", json!(version.state.text())),
        // Reasons stand on builds alone (facts section 6).
        ("stateReason", Value::Null),
        ("status", json!(version.status.text())),
        ("tags", Value::Null),
        ("updatedAt", time(version.updated_at)),
    ];
    members.extend(
        more.into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    Value::Object(members)
}

/// What a version is made from.
pub(super) fn spec_members(spec: &ImageSpec) -> Map<String, Value> {
    let capabilities = match spec.capabilities {
        OsCapabilities::Container => Value::Null,
        OsCapabilities::All => json!(["ALL"]),
    };
    let cpus = spec.cpu_architectures.as_ref().map(|architectures| {
        let cpus = architectures
            .iter()
            .map(|cpu| json!({"architecture": cpu.text()}));
        cpus.collect::<Vec<_>>()
    });
    let members = [
        ("additionalOsCapabilities", capabilities),
        ("baseImageArn", json!(spec.base.to_string())),
        (
            "baseImageVersion",
            json!(spec.base_version.map(|major| format!("{major}.0"))),
        ),
        ("buildRoleArn", json!(spec.build_role_arn)),
        ("codeArtifact", json!({"uri": spec.artifact.to_string()})),
        ("cpuConfigurations", json!(cpus)),
        ("description", json!(spec.description)),
        ("egressNetworkConnectors", json!(arns(&spec.egress))),
        (
            "environmentVariables",
            json!(spec.environment.as_ref().map(|variables| &variables.0)),
        ),
        ("hooks", spec.hooks.as_ref().map_or(Value::Null, hooks)),
        (
            "logging",
            spec.logging.as_ref().map_or(Value::Null, logging),
        ),
        (
            "resources",
            json!([{"minimumMemoryInMiB": spec.tier.baseline_mib()}]),
        ),
    ];
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn logging(logging: &Logging) -> Value {
    match logging {
        Logging::Disabled => json!({"disabled": {}}),
        Logging::CloudWatch { group, stream } => {
            json!({"cloudWatch": {"logGroup": group, "logStream": stream}})
        }
    }
}

fn hooks(hooks: &Hooks) -> Value {
    json!({
        "microvmHooks": hooks.microvm.as_ref().map(microvm_hooks),
        "microvmImageHooks": hooks.image.as_ref().map(image_hooks),
        "port": hooks.port,
    })
}

fn microvm_hooks(hooks: &MicrovmHooks) -> Value {
    json!({
        "resume": switch(hooks.resume),
        "resumeTimeoutInSeconds": hooks.resume.timeout_s,
        "run": switch(hooks.run),
        "runTimeoutInSeconds": hooks.run.timeout_s,
        "suspend": switch(hooks.suspend),
        "suspendTimeoutInSeconds": hooks.suspend.timeout_s,
        "terminate": switch(hooks.terminate),
        "terminateTimeoutInSeconds": hooks.terminate.timeout_s,
    })
}

fn image_hooks(hooks: &ImageHooks) -> Value {
    json!({
        "ready": switch(hooks.ready),
        "readyTimeoutInSeconds": hooks.ready.timeout_s,
        "validate": switch(hooks.validate),
        "validateTimeoutInSeconds": hooks.validate.timeout_s,
    })
}

fn switch(setting: HookSetting) -> Option<&'static str> {
    setting
        .enabled
        .map(|enabled| if enabled { "ENABLED" } else { "DISABLED" })
}

/// `GetMicrovmImageBuild`: an item with its sizes, as far as they are known.
pub(crate) fn build(build: &Build) -> Value {
    let mut members = build_members(build);
    members.insert("snapshotBuild".to_owned(), sizes(&build.sizes));
    Value::Object(members)
}

/// An item of `ListMicrovmImageBuilds`.
pub(crate) fn build_item(build: &Build) -> Value {
    Value::Object(build_members(build))
}

fn build_members(build: &Build) -> Map<String, Value> {
    let members = [
        ("architecture", json!(build.architecture.text())),
        ("buildId", json!(build.id.to_string())),
        ("buildState", json!(build.state.text())),
        ("chipset", json!(chipset(build.architecture))),
        ("chipsetGeneration", json!(build.chipset_generation)),
        ("createdAt", time(build.created_at)),
        ("imageArn", json!(build.image.to_string())),
        ("imageVersion", json!(build.version.to_string())),
        ("stateReason", json!(build.reason)),
    ];
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The model has one chipset for each architecture.
pub(crate) fn chipset(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Arm64 => "GRAVITON",
        Architecture::X86_64 => "INTEL",
    }
}

fn sizes(sizes: &BuildSizes) -> Value {
    if *sizes == BuildSizes::default() {
        return Value::Null;
    }
    json!({
        "codeInstallSizeInBytes": sizes.code_install_bytes,
        "diskSnapshotSizeInBytes": sizes.disk_bytes,
        "memorySnapshotSizeInBytes": sizes.memory_bytes,
    })
}
