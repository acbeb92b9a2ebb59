//! `RemovePermission`: removes a statement. The last one takes the policy with it.

use hearth_functions::FunctionError;

use super::names::{named, not_found};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::RemovePermissionInput;

pub(super) async fn perform(
    context: &Context<'_>,
    input: RemovePermissionInput,
) -> Result<(), Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let removed = context.store(move |store, owner| {
        let (qualifier, id) = (named.qualifier.as_ref(), &input.statement_id);
        let removed = store.remove_permission(owner, &named.name, qualifier, id, input.revision_id);
        match removed {
            Err(FunctionError::NoFunction(arn)) => Ok(Err(arn)),
            other => other.map(Ok),
        }
    });
    removed
        .await?
        .map_err(|arn| not_found(format!("No policy found for: {arn}")))
}
