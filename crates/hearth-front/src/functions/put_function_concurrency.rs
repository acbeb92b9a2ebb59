//! `PutFunctionConcurrency`: reserves concurrency for a function. Zero turns it off.

use super::latest::or_latest;
use super::names::unqualified;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{PutFunctionConcurrencyInput, PutFunctionConcurrencyOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: PutFunctionConcurrencyInput,
) -> Result<PutFunctionConcurrencyOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let wanted = input.reserved_concurrent_executions;
    let reserved = context
        .store(move |store, owner| or_latest(store.reserve_concurrency(owner, &name, wanted)));
    Ok(PutFunctionConcurrencyOutput {
        reserved_concurrent_executions: Some(reserved.await?.into()),
    })
}
