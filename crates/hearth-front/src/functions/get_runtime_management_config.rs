//! `GetRuntimeManagementConfig`: when a version gets a new version of its runtime.

use hearth_functions::UpdateRuntimeOn;

use super::names::named;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda as model;
use crate::model::lambda::{GetRuntimeManagementConfigInput, GetRuntimeManagementConfigOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetRuntimeManagementConfigInput,
) -> Result<GetRuntimeManagementConfigOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let found = context.store(move |store, owner| {
        let qualifier = named.qualifier.as_ref();
        let version = store.version(owner, &named.name, qualifier)?;
        let management = store.runtime_management(owner, &named.name, qualifier)?;
        Ok((
            format!("{}:{}", version.function_arn, version.version),
            management,
        ))
    });
    let (arn, management) = found.await?;
    let update_on = match management.update_on {
        UpdateRuntimeOn::Auto => model::UpdateRuntimeOn::Auto,
        UpdateRuntimeOn::FunctionUpdate => model::UpdateRuntimeOn::FunctionUpdate,
        UpdateRuntimeOn::Manual => model::UpdateRuntimeOn::Manual,
    };
    Ok(GetRuntimeManagementConfigOutput {
        function_arn: Some(arn),
        runtime_version_arn: management.runtime_arn,
        update_runtime_on: Some(update_on),
    })
}
