//! Lists of what functions here never have. Clients read them after every deployment, and expect an answer.

use super::names::{named, unqualified};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::*;

/// `GetFunctionCodeSigningConfig`: no function has one, which is not an error.
pub(super) async fn get_function_code_signing_config(
    context: &Context<'_>,
    input: GetFunctionCodeSigningConfigInput,
) -> Result<GetFunctionCodeSigningConfigOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let function_name = name.clone();
    context
        .store(move |store, owner| store.version(owner, &name, None))
        .await?;
    Ok(GetFunctionCodeSigningConfigOutput { function_name })
}

/// `ListFunctionUrlConfigs`.
pub(super) async fn list_function_url_configs(
    context: &Context<'_>,
    input: ListFunctionUrlConfigsInput,
) -> Result<ListFunctionUrlConfigsOutput, Fault> {
    exists(context, &input.function_name).await?;
    Ok(ListFunctionUrlConfigsOutput {
        function_url_configs: Vec::new(),
    })
}

/// `ListProvisionedConcurrencyConfigs`.
pub(super) async fn list_provisioned_concurrency_configs(
    context: &Context<'_>,
    input: ListProvisionedConcurrencyConfigsInput,
) -> Result<ListProvisionedConcurrencyConfigsOutput, Fault> {
    exists(context, &input.function_name).await?;
    Ok(ListProvisionedConcurrencyConfigsOutput {
        provisioned_concurrency_configs: Some(Vec::new()),
    })
}

/// `ListEventSourceMappings`.
#[expect(clippy::unused_async, reason = "operations are asynchronous")]
pub(super) async fn list_event_source_mappings(
    _: &Context<'_>,
    _: ListEventSourceMappingsInput,
) -> Result<ListEventSourceMappingsOutput, Fault> {
    Ok(ListEventSourceMappingsOutput {
        event_source_mappings: Some(Vec::new()),
    })
}

/// `ListCodeSigningConfigs`.
#[expect(clippy::unused_async, reason = "operations are asynchronous")]
pub(super) async fn list_code_signing_configs(
    _: &Context<'_>,
    _: ListCodeSigningConfigsInput,
) -> Result<ListCodeSigningConfigsOutput, Fault> {
    Ok(ListCodeSigningConfigsOutput {
        code_signing_configs: Some(Vec::new()),
    })
}

/// `ListCapacityProviders`.
#[expect(clippy::unused_async, reason = "operations are asynchronous")]
pub(super) async fn list_capacity_providers(
    _: &Context<'_>,
    _: ListCapacityProvidersInput,
) -> Result<ListCapacityProvidersOutput, Fault> {
    Ok(ListCapacityProvidersOutput {
        capacity_providers: Vec::new(),
    })
}

/// `ListDurableExecutionsByFunction`.
pub(super) async fn list_durable_executions_by_function(
    context: &Context<'_>,
    input: ListDurableExecutionsByFunctionInput,
) -> Result<ListDurableExecutionsByFunctionOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    context
        .store(move |store, owner| store.version(owner, &named.name, named.qualifier.as_ref()))
        .await?;
    Ok(ListDurableExecutionsByFunctionOutput {
        durable_executions: Some(Vec::new()),
    })
}

async fn exists(context: &Context<'_>, name: &str) -> Result<(), Fault> {
    let named = named(context, name, None)?;
    let found = context.store(move |store, owner| store.version(owner, &named.name, None));
    found.await.map(drop)
}
