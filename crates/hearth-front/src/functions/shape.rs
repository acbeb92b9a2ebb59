//! Functions, aliases and layers in the words of AWS.

use std::collections::BTreeMap;

use hearth_functions::{
    Alias, EventInvoke, FunctionVersion, LayerVersion, LogFormat, Logging, State, TracingMode,
    UpdateStatus, runtime_version_arn,
};

use super::names::qualified;
use crate::lambda::Context;
use crate::model::lambda as model;
use crate::model::values::Sensitive;

/// What AWS says while a function is created or updated; of an update it says the same.
const CREATING: &str = "The function is being created.";

/// A time in milliseconds since 1970 as AWS writes it.
pub(super) fn time(ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(ms).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string())
}

/// A digest in base64, as AWS shows it, from hex.
pub(super) fn base64_of_hex(hex: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
    let pair = |pair: &[u8]| {
        let number = pair
            .iter()
            .fold(0, |number, byte| number * 16 + digit(*byte));
        u8::try_from(number).unwrap_or(0)
    };
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(pair).collect();
    base64_simd::STANDARD.encode_to_string(bytes)
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A version under this ARN.
pub(super) fn configuration(
    context: &Context<'_>,
    version: &FunctionVersion,
    arn: String,
) -> model::FunctionConfiguration {
    let region = context.scope().region.to_string();
    let is_pending = version.state == State::Pending;
    let is_updating = version.update_status == Some(UpdateStatus::InProgress);
    let runtime = runtime_version_arn(&region, &version.configuration.runtime);
    model::FunctionConfiguration {
        state: Some(match version.state {
            State::Pending => model::State::Pending,
            State::Active => model::State::Active,
        }),
        state_reason: is_pending.then(|| CREATING.to_owned()),
        state_reason_code: is_pending.then_some(model::StateReasonCode::Creating),
        last_update_status: version.update_status.map(|status| match status {
            UpdateStatus::InProgress => model::LastUpdateStatus::InProgress,
            UpdateStatus::Successful => model::LastUpdateStatus::Successful,
        }),
        last_update_status_reason: is_updating.then(|| CREATING.to_owned()),
        last_update_status_reason_code: is_updating.then(|| "Creating".to_owned()),
        runtime_version_config: Some(model::RuntimeVersionConfig {
            runtime_version_arn: Some(runtime),
        }),
        ..list_item(version, arn)
    }
}

/// A version in a list: without its state and its runtime version.
pub(super) fn list_item(version: &FunctionVersion, arn: String) -> model::FunctionConfiguration {
    let configuration = &version.configuration;
    let layers = configuration.layers.iter().map(|layer| model::Layer {
        arn: Some(layer.arn.clone()),
        code_size: Some(signed(layer.bytes)),
    });
    let layers: Vec<_> = layers.collect();
    model::FunctionConfiguration {
        architectures: Some(architectures(&configuration.architectures)),
        code_sha256: Some(base64_of_hex(&version.code_sha256)),
        code_size: Some(signed(version.code_bytes)),
        description: Some(configuration.description.clone()),
        environment: configuration.environment.as_ref().map(environment),
        ephemeral_storage: Some(model::EphemeralStorage {
            size: configuration.ephemeral_storage_mb,
        }),
        function_arn: Some(arn),
        function_name: Some(version.name.clone()),
        handler: Some(configuration.handler.clone()),
        last_modified: time(version.modified_ms),
        last_update_status: None,
        last_update_status_reason: None,
        last_update_status_reason_code: None,
        layers: (!layers.is_empty()).then_some(layers),
        logging_config: Some(logging(&configuration.logging)),
        memory_size: Some(configuration.memory_mb),
        package_type: Some(model::PackageType::Zip),
        revision_id: Some(version.revision_id.clone()),
        role: Some(configuration.role.clone()),
        runtime: Some(configuration.runtime.clone()),
        runtime_version_config: None,
        snap_start: Some(model::SnapStartResponse {
            apply_on: Some(model::SnapStartApplyOn::None),
            optimization_status: Some(model::SnapStartOptimizationStatus::Off),
        }),
        state: None,
        state_reason: None,
        state_reason_code: None,
        tenancy_config: configuration
            .is_tenant_isolated
            .then_some(model::TenancyConfig {
                tenant_isolation_mode: model::TenantIsolationMode::PerTenant,
            }),
        timeout: Some(configuration.timeout_s),
        tracing_config: Some(model::TracingConfigResponse {
            mode: Some(match configuration.tracing {
                TracingMode::PassThrough => model::TracingMode::PassThrough,
                TracingMode::Active => model::TracingMode::Active,
            }),
        }),
        version: Some(version.version.to_string()),
    }
}

/// A word of the model, which every stored word is.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

fn environment(variables: &BTreeMap<String, String>) -> model::EnvironmentResponse {
    let variables = variables.iter();
    let variables = variables.map(|(key, value)| (key.clone(), Sensitive(value.clone())));
    model::EnvironmentResponse {
        variables: Some(variables.collect()),
    }
}

fn logging(logging: &Logging) -> model::LoggingConfig {
    model::LoggingConfig {
        application_log_level: logging.application_level.as_deref().and_then(word),
        log_format: Some(match logging.format {
            LogFormat::Text => model::LogFormat::Text,
            LogFormat::Json => model::LogFormat::Json,
        }),
        log_group: Some(logging.group.clone()),
        system_log_level: logging.system_level.as_deref().and_then(word),
    }
}

fn architectures(names: &[String]) -> Vec<model::Architecture> {
    names.iter().filter_map(|name| word(name)).collect()
}

/// A version under its own ARN, `$LATEST` too.
pub(super) fn qualified_arn(version: &FunctionVersion) -> String {
    format!("{}:{}", version.function_arn, version.version)
}

/// A version under the ARN that a request named.
pub(super) fn as_named(
    context: &Context<'_>,
    version: &FunctionVersion,
    qualifier: Option<&hearth_functions::Qualifier>,
) -> model::FunctionConfiguration {
    let arn = qualified(version.function_arn.clone(), qualifier);
    configuration(context, version, arn)
}

pub(super) fn alias(alias: Alias) -> model::AliasConfiguration {
    model::AliasConfiguration {
        alias_arn: Some(alias.arn),
        description: Some(alias.description),
        function_version: Some(alias.version.to_string()),
        name: Some(alias.name),
        revision_id: Some(alias.revision_id),
        routing_config: alias.routing.map(|other| model::AliasRoutingConfiguration {
            additional_version_weights: Some([(other.version.to_string(), other.weight)].into()),
        }),
    }
}

pub(super) fn event_invoke(found: EventInvoke) -> model::FunctionEventInvokeConfig {
    let time = hearth_control::time::Timestamp::from_unix_ms(found.modified_ms);
    model::FunctionEventInvokeConfig {
        destination_config: Some(model::DestinationConfig {
            on_failure: Some(model::OnFailure { destination: None }),
            on_success: Some(model::OnSuccess { destination: None }),
        }),
        function_arn: Some(found.function_arn),
        last_modified: Some(time.into()),
        maximum_event_age_in_seconds: found.settings.max_age_s,
        maximum_retry_attempts: found.settings.retries,
    }
}

/// A layer version in a list: without its content.
pub(super) fn layer_item(version: &LayerVersion) -> model::LayerVersionsListItem {
    model::LayerVersionsListItem {
        compatible_architectures: version.architectures.as_deref().map(architectures),
        compatible_runtimes: version.runtimes.clone(),
        created_date: time(version.created_ms),
        description: Some(version.description.clone()),
        layer_version_arn: Some(version.arn.to_string()),
        license_info: version.license.clone(),
        version: Some(version.arn.version.into()),
    }
}

/// A layer version with the address of its content.
pub(super) fn layer_version(
    version: &LayerVersion,
    location: String,
) -> model::GetLayerVersionOutput {
    model::GetLayerVersionOutput {
        compatible_architectures: version.architectures.as_deref().map(architectures),
        compatible_runtimes: version.runtimes.clone(),
        content: Some(model::LayerVersionContentOutput {
            code_sha256: Some(base64_of_hex(&version.code.sha256)),
            code_size: Some(signed(version.code.bytes)),
            location: Some(location),
        }),
        created_date: time(version.created_ms),
        description: Some(version.description.clone()),
        layer_arn: Some(version.arn.owner.layer_arn(&version.arn.name)),
        layer_version_arn: Some(version.arn.to_string()),
        license_info: version.license.clone(),
        version: Some(version.arn.version.into()),
    }
}
