//! `ListFunctionEventInvokeConfigs`: the settings of all qualifiers of a function.

use super::names::unqualified;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{
    ListFunctionEventInvokeConfigsInput, ListFunctionEventInvokeConfigsOutput,
};

/// Most items of a page.
const PAGE_LIMIT: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListFunctionEventInvokeConfigsInput,
) -> Result<ListFunctionEventInvokeConfigsOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let filters = [Some(name.as_str())];
    let marker = context.open_marker(input.marker.as_deref(), &filters)?;
    let after = marker.unwrap_or_default();
    let limit = input.max_items.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
    let function = name.clone();
    let found = context.store(move |store, owner| {
        // One more tells whether there is another page.
        store.event_invokes(owner, &function, &after, limit + 1)
    });
    let mut found = found.await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| has_more);
    let qualifier = last.and_then(|last| last.function_arn.rsplit(':').next());
    Ok(ListFunctionEventInvokeConfigsOutput {
        next_marker: qualifier.map(|qualifier| context.seal_marker(qualifier, &filters)),
        function_event_invoke_configs: Some(found.into_iter().map(shape::event_invoke).collect()),
    })
}
