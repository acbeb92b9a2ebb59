//! Stored form of an image's specification.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use crate::image::{
    Architecture, ArtifactUri, Environment, ImageSpec, Logging, MemoryTier, OsCapabilities,
};
use crate::store::text::Word as _;

#[derive(Serialize, Deserialize)]
pub(crate) struct SpecForm {
    base: String,
    base_version: Option<u32>,
    build_role_arn: String,
    description: Option<String>,
    bucket: String,
    key: String,
    logging: Option<LoggingForm>,
    egress: Vec<String>,
    architectures: Option<Vec<String>>,
    memory_mib: u32,
    all_capabilities: bool,
    hooks: Option<HooksForm>,
    environment: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LoggingForm {
    enabled: bool,
    group: Option<String>,
    stream: Option<String>,
}

/// Whether the hook is enabled, and its timeout in seconds, as the caller gave them.
type SettingForm = (Option<bool>, Option<u32>);

#[derive(Serialize, Deserialize)]
pub(crate) struct HooksForm {
    port: Option<u16>,
    microvm: Option<MicrovmHooksForm>,
    image: Option<ImageHooksForm>,
}

#[derive(Serialize, Deserialize)]
struct MicrovmHooksForm {
    run: SettingForm,
    resume: SettingForm,
    suspend: SettingForm,
    terminate: SettingForm,
}

#[derive(Serialize, Deserialize)]
struct ImageHooksForm {
    ready: SettingForm,
    validate: SettingForm,
}

impl Stored for ImageSpec {
    const KIND: &'static str = "image spec";
    type Form = SpecForm;

    fn to_form(&self) -> SpecForm {
        let words =
            |list: &Vec<Architecture>| list.iter().map(|one| one.word().to_owned()).collect();
        SpecForm {
            base: self.base.to_string(),
            base_version: self.base_version,
            build_role_arn: self.build_role_arn.clone(),
            description: self.description.clone(),
            bucket: self.artifact.bucket.clone(),
            key: self.artifact.key.clone(),
            logging: self.logging.as_ref().map(logging_to_form),
            egress: self.egress.iter().map(ToString::to_string).collect(),
            architectures: self.cpu_architectures.as_ref().map(words),
            memory_mib: self.tier.baseline_mib(),
            all_capabilities: self.capabilities == OsCapabilities::All,
            hooks: self.hooks.as_ref().map(hooks_to_form),
            environment: self
                .environment
                .as_ref()
                .map(|environment| environment.0.clone()),
        }
    }

    fn from_form(form: SpecForm) -> Option<Self> {
        let architectures = match form.architectures {
            Some(words) => {
                let parsed = words.iter().map(|word| Architecture::of_word(word).ok());
                Some(parsed.collect::<Option<Vec<_>>>()?)
            }
            None => None,
        };
        let all = form.all_capabilities;
        Some(Self {
            base: form.base.parse().ok()?,
            base_version: form.base_version,
            build_role_arn: form.build_role_arn,
            description: form.description,
            artifact: ArtifactUri {
                bucket: form.bucket,
                key: form.key,
            },
            logging: form.logging.map(logging_from_form),
            egress: form
                .egress
                .iter()
                .map(|arn| arn.parse().ok())
                .collect::<Option<_>>()?,
            cpu_architectures: architectures,
            tier: MemoryTier::from_baseline_mib(form.memory_mib)?,
            capabilities: if all {
                OsCapabilities::All
            } else {
                OsCapabilities::Container
            },
            hooks: form.hooks.map(hooks_from_form),
            environment: form.environment.map(Environment),
        })
    }
}

pub(super) fn logging_to_form(logging: &Logging) -> LoggingForm {
    match logging {
        Logging::Disabled => LoggingForm {
            enabled: false,
            group: None,
            stream: None,
        },
        Logging::CloudWatch { group, stream } => LoggingForm {
            enabled: true,
            group: group.clone(),
            stream: stream.clone(),
        },
    }
}

pub(super) fn logging_from_form(form: LoggingForm) -> Logging {
    if form.enabled {
        Logging::CloudWatch {
            group: form.group,
            stream: form.stream,
        }
    } else {
        Logging::Disabled
    }
}

fn setting_to_form(setting: HookSetting) -> SettingForm {
    (setting.enabled, setting.timeout_s)
}

fn setting_from_form((enabled, timeout_s): SettingForm) -> HookSetting {
    HookSetting { enabled, timeout_s }
}

pub(super) fn hooks_to_form(hooks: &Hooks) -> HooksForm {
    HooksForm {
        port: hooks.port,
        microvm: hooks.microvm.map(|hooks| MicrovmHooksForm {
            run: setting_to_form(hooks.run),
            resume: setting_to_form(hooks.resume),
            suspend: setting_to_form(hooks.suspend),
            terminate: setting_to_form(hooks.terminate),
        }),
        image: hooks.image.map(|hooks| ImageHooksForm {
            ready: setting_to_form(hooks.ready),
            validate: setting_to_form(hooks.validate),
        }),
    }
}

pub(super) fn hooks_from_form(form: HooksForm) -> Hooks {
    Hooks {
        port: form.port,
        microvm: form.microvm.map(|form| MicrovmHooks {
            run: setting_from_form(form.run),
            resume: setting_from_form(form.resume),
            suspend: setting_from_form(form.suspend),
            terminate: setting_from_form(form.terminate),
        }),
        image: form.image.map(|form| ImageHooks {
            ready: setting_from_form(form.ready),
            validate: setting_from_form(form.validate),
        }),
    }
}
