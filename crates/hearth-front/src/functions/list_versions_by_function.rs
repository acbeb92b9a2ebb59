//! `ListVersionsByFunction`: `$LATEST`, then the published versions, oldest first.

use super::names::{invalid, named};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{ListVersionsByFunctionInput, ListVersionsByFunctionOutput};

/// Most items of a page, whatever a request asks for.
const PAGE_LIMIT: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListVersionsByFunctionInput,
) -> Result<ListVersionsByFunctionOutput, Fault> {
    let name = named(context, &input.function_name, None)?.name;
    let filters = [Some(name.as_str())];
    let marker = context.open_marker(input.marker.as_deref(), &filters)?;
    let from = marker.as_deref().map(str::parse::<u32>).transpose();
    let from = from.map_err(|_| invalid("Invalid marker"))?.unwrap_or(0);
    let limit = input.max_items.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
    let function = name.clone();
    let found = context.store(move |store, owner| {
        // One more is where the next page begins.
        store.versions(owner, &function, from, limit + 1)
    });
    let mut found = found.await?;
    let next = found
        .get(limit as usize)
        .map(|next| next.version.to_string());
    found.truncate(limit as usize);
    let item = |version| shape::list_item(version, shape::qualified_arn(version));
    Ok(ListVersionsByFunctionOutput {
        next_marker: next.map(|next| context.seal_marker(&next, &filters)),
        versions: Some(found.iter().map(item).collect()),
    })
}
