//! Answers about versions and their builds.

use hearth_control::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use hearth_control::image::{
    Architecture, Build, BuildSizes, Environment, ImageSpec, ImageVersion, Logging, OsCapabilities,
};

use super::arns;
use crate::model::lambda_microvms as model;
use crate::model::values::Sensitive;

/// One version, as all operations answer it.
pub(crate) fn version(version: &ImageVersion) -> model::MicrovmImageVersionSummary {
    model::MicrovmImageVersionSummary {
        image_specification: specification(&version.spec),
        created_at: version.created_at.into(),
        image_arn: version.image.to_string(),
        image_version: version.number.to_string(),
        state: version.state.into(),
        // Only builds have a reason (facts section 6).
        state_reason: None,
        status: version.status.into(),
        tags: None,
        updated_at: Some(version.updated_at.into()),
    }
}

/// The specification of a version.
pub(super) fn specification(spec: &ImageSpec) -> model::ImageSpecification {
    let architecture = |cpu: &Architecture| model::CpuConfiguration {
        architecture: (*cpu).into(),
    };
    let cpus = spec.cpu_architectures.as_ref();
    model::ImageSpecification {
        additional_os_capabilities: match spec.capabilities {
            OsCapabilities::Container => None,
            OsCapabilities::All => Some(vec![model::Capability::All]),
        },
        base_image_arn: spec.base.to_string(),
        base_image_version: spec.base_version.map(|major| format!("{major}.0")),
        build_role_arn: spec.build_role_arn.clone(),
        code_artifact: model::CodeArtifact::Uri(spec.artifact.to_string()),
        cpu_configurations: cpus.map(|cpus| cpus.iter().map(architecture).collect()),
        description: spec.description.clone(),
        egress_network_connectors: Some(arns(&spec.egress)),
        environment_variables: spec.environment.as_ref().map(environment),
        hooks: spec.hooks.as_ref().map(hooks),
        logging: spec.logging.as_ref().map(logging),
        resources: Some(vec![model::Resources {
            minimum_memory_in_mib: spec.tier.baseline_mib().into(),
        }]),
    }
}

fn environment(variables: &Environment) -> std::collections::BTreeMap<String, Sensitive> {
    let variables = variables.0.iter();
    variables
        .map(|(name, value)| (name.clone(), Sensitive(value.clone())))
        .collect()
}

fn logging(logging: &Logging) -> model::Logging {
    match logging {
        Logging::Disabled => model::Logging::Disabled {},
        Logging::CloudWatch { group, stream } => {
            model::Logging::CloudWatch(model::CloudWatchLogging {
                log_group: group.clone(),
                log_stream: stream.clone(),
            })
        }
    }
}

fn hooks(hooks: &Hooks) -> model::Hooks {
    model::Hooks {
        microvm_hooks: hooks.microvm.as_ref().map(microvm_hooks),
        microvm_image_hooks: hooks.image.as_ref().map(image_hooks),
        port: hooks.port,
    }
}

fn microvm_hooks(hooks: &MicrovmHooks) -> model::MicrovmHooks {
    model::MicrovmHooks {
        resume: switch(hooks.resume),
        resume_timeout_in_seconds: hooks.resume.timeout_s,
        run: switch(hooks.run),
        run_timeout_in_seconds: hooks.run.timeout_s,
        suspend: switch(hooks.suspend),
        suspend_timeout_in_seconds: hooks.suspend.timeout_s,
        terminate: switch(hooks.terminate),
        terminate_timeout_in_seconds: hooks.terminate.timeout_s,
    }
}

fn image_hooks(hooks: &ImageHooks) -> model::MicrovmImageHooks {
    model::MicrovmImageHooks {
        ready: switch(hooks.ready),
        ready_timeout_in_seconds: hooks.ready.timeout_s,
        validate: switch(hooks.validate),
        validate_timeout_in_seconds: hooks.validate.timeout_s,
    }
}

fn switch(setting: HookSetting) -> Option<model::HookState> {
    setting.enabled.map(|enabled| match enabled {
        true => model::HookState::Enabled,
        false => model::HookState::Disabled,
    })
}

/// `GetMicrovmImageBuild`: an item with its sizes, as far as known.
pub(crate) fn build(build: &Build) -> model::GetMicrovmImageBuildOutput {
    model::GetMicrovmImageBuildOutput {
        microvm_image_build_summary: build_item(build),
        snapshot_build: sizes(&build.sizes),
        // Only null was ever recorded. Its values are not known.
        termination_reason_code: None,
    }
}

/// An item of `ListMicrovmImageBuilds`.
pub(crate) fn build_item(build: &Build) -> model::MicrovmImageBuildSummary {
    model::MicrovmImageBuildSummary {
        architecture: build.architecture.into(),
        build_id: build.id.to_string(),
        build_state: build.state.into(),
        chipset: chipset(build.architecture),
        chipset_generation: build.chipset_generation.clone(),
        created_at: build.created_at.into(),
        image_arn: build.image.to_string(),
        image_version: build.version.to_string(),
        state_reason: build.reason.clone(),
    }
}

/// The model has one chipset for each architecture.
pub(crate) fn chipset(architecture: Architecture) -> model::Chipset {
    match architecture {
        Architecture::Arm64 => model::Chipset::Graviton,
        Architecture::X86_64 => model::Chipset::Intel,
    }
}

fn sizes(sizes: &BuildSizes) -> Option<model::SnapshotBuild> {
    if *sizes == BuildSizes::default() {
        return None;
    }
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Some(model::SnapshotBuild {
        code_install_size_in_bytes: sizes.code_install_bytes.map(signed),
        disk_snapshot_size_in_bytes: sizes.disk_bytes.map(signed),
        memory_snapshot_size_in_bytes: sizes.memory_bytes.map(signed),
    })
}
