//! `DeleteFunction`: a function with everything that belongs to it, or one version.

use super::names::named;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::DeleteFunctionInput;

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteFunctionInput,
) -> Result<(), Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    context
        .store(move |store, owner| store.delete(owner, &named.name, named.qualifier.as_ref()))
        .await
}
