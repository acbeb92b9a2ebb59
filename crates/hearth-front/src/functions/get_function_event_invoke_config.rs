//! `GetFunctionEventInvokeConfig`: the settings of asynchronous invocations.

use super::names::named;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetFunctionEventInvokeConfigInput, GetFunctionEventInvokeConfigOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetFunctionEventInvokeConfigInput,
) -> Result<GetFunctionEventInvokeConfigOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let found = context.store(move |store, owner| {
        store.event_invoke(owner, &named.name, named.qualifier.as_ref())
    });
    found.await.map(shape::event_invoke)
}
