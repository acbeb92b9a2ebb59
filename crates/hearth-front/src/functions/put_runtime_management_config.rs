//! `PutRuntimeManagementConfig`: sets when a version gets a new version of its runtime.

use hearth_functions::{RuntimeManagement, UpdateRuntimeOn};

use super::names::{invalid, named};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda as model;
use crate::model::lambda::{PutRuntimeManagementConfigInput, PutRuntimeManagementConfigOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: PutRuntimeManagementConfigInput,
) -> Result<PutRuntimeManagementConfigOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let runtime_arn = input.runtime_version_arn;
    let update_on = match (input.update_runtime_on, &runtime_arn) {
        (model::UpdateRuntimeOn::Auto, None) => UpdateRuntimeOn::Auto,
        (model::UpdateRuntimeOn::FunctionUpdate, None) => UpdateRuntimeOn::FunctionUpdate,
        (model::UpdateRuntimeOn::Manual, Some(_)) => UpdateRuntimeOn::Manual,
        (model::UpdateRuntimeOn::Manual, None) => {
            return Err(invalid("RuntimeVersionArn is required for Manual."));
        }
        (_, Some(_)) => return Err(invalid("RuntimeVersionArn is for Manual alone.")),
    };
    let management = RuntimeManagement {
        update_on,
        runtime_arn: runtime_arn.clone(),
    };
    let written = context.store(move |store, owner| {
        let qualifier = named.qualifier.as_ref();
        let version = store.version(owner, &named.name, qualifier)?;
        store.set_runtime_management(owner, &named.name, qualifier, &management)?;
        Ok(format!("{}:{}", version.function_arn, version.version))
    });
    Ok(PutRuntimeManagementConfigOutput {
        function_arn: written.await?,
        runtime_version_arn: runtime_arn,
        update_runtime_on: input.update_runtime_on,
    })
}
