//! `GetFunctionConcurrency`: an empty answer if nothing is reserved.

use super::names::unqualified;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetFunctionConcurrencyInput, GetFunctionConcurrencyOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetFunctionConcurrencyInput,
) -> Result<GetFunctionConcurrencyOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let found = context.store(move |store, owner| store.function_settings(owner, &name));
    Ok(GetFunctionConcurrencyOutput {
        reserved_concurrent_executions: found.await?.reserved.map(u64::from),
    })
}
