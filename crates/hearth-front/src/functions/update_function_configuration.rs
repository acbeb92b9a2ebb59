//! `UpdateFunctionConfiguration`: changes what the request has. Code stays as it is.

use std::sync::Arc;

use hearth_functions::ConfigurationUpdate;

use super::names::unqualified;
use super::service::now_ms;
use super::settings::{LoggingSettings, Settings, environment, layers, tracing};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{UpdateFunctionConfigurationInput, UpdateFunctionConfigurationOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateFunctionConfigurationInput,
) -> Result<UpdateFunctionConfigurationOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let settings = Settings {
        runtime: input.runtime,
        handler: input.handler,
        role: input.role,
        description: input.description,
        timeout_s: input.timeout,
        memory_mb: input.memory_size,
        ephemeral_storage_mb: input.ephemeral_storage.map(|storage| storage.size),
        environment: environment(input.environment),
        tracing: tracing(input.tracing_config.as_ref()),
        logging: LoggingSettings::read(input.logging_config),
    };
    settings.check(context.functions.store.limits())?;
    let update = ConfigurationUpdate {
        change: Arc::new(move |configuration| settings.apply(configuration)),
        layers: layers(input.layers)?,
        revision_id: input.revision_id,
    };
    let updated = context
        .store(move |store, owner| store.update_configuration(owner, &name, update, now_ms()));
    Ok(shape::as_named(context, &updated.await?, None))
}
