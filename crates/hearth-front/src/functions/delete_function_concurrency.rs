//! `DeleteFunctionConcurrency`. Succeeds if nothing is reserved.

use super::names::unqualified;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::DeleteFunctionConcurrencyInput;

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteFunctionConcurrencyInput,
) -> Result<(), Fault> {
    let name = unqualified(context, &input.function_name)?;
    context
        .store(move |store, owner| store.release_concurrency(owner, &name))
        .await
}
