//! `DeleteFunctionEventInvokeConfig`.

use super::names::named;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::DeleteFunctionEventInvokeConfigInput;

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteFunctionEventInvokeConfigInput,
) -> Result<(), Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let deleted = context.store(move |store, owner| {
        store.delete_event_invoke(owner, &named.name, named.qualifier.as_ref())
    });
    deleted.await
}
