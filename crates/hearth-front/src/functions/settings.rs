//! What `CreateFunction` and `UpdateFunctionConfiguration` have in common: the members of a configuration, which are
//! checked beyond the model.

use std::collections::BTreeMap;

use hearth_functions::{
    Configuration, FunctionError, FunctionLimits, LayerArn, LogFormat, Logging, TracingMode,
    check_environment, check_logging,
};

use super::names::invalid;
use super::runtimes::check_runtime;
use crate::fault::Fault;
use crate::model::lambda as model;
use crate::model::values::ModelWord as _;

/// Most memory of a function in MB; the model has what managed instances take (facts section 1.4).
const MAX_MEMORY_MB: u32 = 10_240;

/// Largest `/tmp` in MB.
const MAX_EPHEMERAL_STORAGE_MB: u32 = 10_240;

/// The members of a request. Absent ones change nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) runtime: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) role: Option<String>,
    pub(super) description: Option<String>,
    pub(super) timeout_s: Option<u32>,
    pub(super) memory_mb: Option<u32>,
    pub(super) ephemeral_storage_mb: Option<u32>,
    pub(super) environment: Option<BTreeMap<String, String>>,
    pub(super) tracing: Option<TracingMode>,
    pub(super) logging: LoggingSettings,
}

/// The members of `LoggingConfig`, which are merged with what there is.
#[derive(Clone, Debug, Default)]
pub(super) struct LoggingSettings {
    format: Option<LogFormat>,
    application_level: Option<String>,
    system_level: Option<String>,
    group: Option<String>,
}

impl LoggingSettings {
    pub(super) fn read(config: Option<model::LoggingConfig>) -> Self {
        let Some(config) = config else {
            return Self::default();
        };
        let level = |text: &'static str| text.to_owned();
        Self {
            format: config.log_format.map(|format| match format {
                model::LogFormat::Json => LogFormat::Json,
                model::LogFormat::Text => LogFormat::Text,
            }),
            application_level: config.application_log_level.map(|word| level(word.text())),
            system_level: config.system_log_level.map(|word| level(word.text())),
            group: config.log_group,
        }
    }

    fn apply(&self, logging: &mut Logging) -> Result<(), FunctionError> {
        let has_levels = self.application_level.is_some() || self.system_level.is_some();
        if let Some(format) = self.format {
            logging.format = format;
        }
        if let Some(group) = &self.group {
            logging.group.clone_from(group);
        }
        if self.application_level.is_some() {
            logging
                .application_level
                .clone_from(&self.application_level);
        }
        if self.system_level.is_some() {
            logging.system_level.clone_from(&self.system_level);
        }
        check_logging(logging, has_levels)
    }
}

impl Settings {
    /// Refuses what the model allows and the service does not.
    pub(super) fn check(&self, limits: &FunctionLimits) -> Result<(), Fault> {
        if let Some(runtime) = &self.runtime {
            check_runtime(runtime)?;
        }
        at_most("timeout", self.timeout_s, limits.timeout_s)?;
        at_most("memorySize", self.memory_mb, MAX_MEMORY_MB)?;
        at_most(
            "ephemeralStorage.size",
            self.ephemeral_storage_mb,
            MAX_EPHEMERAL_STORAGE_MB,
        )
    }

    /// Changes a configuration. May be called more than once.
    pub(super) fn apply(&self, configuration: &mut Configuration) -> Result<(), FunctionError> {
        fn set<T: Clone>(target: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                target.clone_from(value);
            }
        }
        if let Some(variables) = &self.environment {
            check_environment(variables)?;
            configuration.environment = Some(variables.clone());
        }
        set(&mut configuration.runtime, self.runtime.as_ref());
        set(&mut configuration.handler, self.handler.as_ref());
        set(&mut configuration.role, self.role.as_ref());
        set(&mut configuration.description, self.description.as_ref());
        set(&mut configuration.timeout_s, self.timeout_s.as_ref());
        set(&mut configuration.memory_mb, self.memory_mb.as_ref());
        set(
            &mut configuration.ephemeral_storage_mb,
            self.ephemeral_storage_mb.as_ref(),
        );
        set(&mut configuration.tracing, self.tracing.as_ref());
        self.logging.apply(&mut configuration.logging)
    }
}

fn at_most(member: &str, value: Option<u32>, limit: u32) -> Result<(), Fault> {
    match value {
        Some(value) if value > limit => Err(Fault::validation(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must have \
             value less than or equal to {limit}"
        ))),
        _ => Ok(()),
    }
}

/// The variables of a request. One that has an environment without variables clears them.
pub(super) fn environment(sent: Option<model::Environment>) -> Option<BTreeMap<String, String>> {
    let variables = sent?.variables.unwrap_or_default().into_iter();
    Some(variables.map(|(key, value)| (key, value.0)).collect())
}

pub(super) fn tracing(sent: Option<&model::TracingConfig>) -> Option<TracingMode> {
    sent?.mode.map(|mode| match mode {
        model::TracingMode::Active => TracingMode::Active,
        model::TracingMode::PassThrough => TracingMode::PassThrough,
    })
}

/// The instruction sets of a request. This host has one.
pub(super) fn architectures(
    sent: Option<Vec<model::Architecture>>,
) -> Result<Option<Vec<String>>, Fault> {
    let Some(sent) = sent else {
        return Ok(None);
    };
    match sent[..] {
        [model::Architecture::X86_64] => Ok(Some(vec!["x86_64".to_owned()])),
        [model::Architecture::Arm64] => Err(invalid(
            "This Hearth installation does not support functions of the architecture arm64. Supported: [x86_64].",
        )),
        _ => Err(invalid("Exactly one architecture has to be given.")),
    }
}

/// The layers of a request.
pub(super) fn layers(sent: Option<Vec<String>>) -> Result<Option<Vec<LayerArn>>, Fault> {
    let read = |text: String| {
        let arn: Result<LayerArn, _> = text.parse();
        match arn {
            Ok(arn) if arn.version == 0 => Err(invalid("Layer Version Cannot be less than 1")),
            Ok(arn) => Ok(arn),
            Err(_) => Err(invalid(format!("Layer version {text} does not exist."))),
        }
    };
    let sent = sent.map(|sent| sent.into_iter().map(read).collect());
    sent.transpose()
}
