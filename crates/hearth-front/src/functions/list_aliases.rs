//! `ListAliases`: the aliases of a function by name, those of one version or all.

use super::names::{unqualified, version};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{ListAliasesInput, ListAliasesOutput};

/// Most items of a page, whatever a request asks for.
const PAGE_LIMIT: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListAliasesInput,
) -> Result<ListAliasesOutput, Fault> {
    let function = unqualified(context, &input.function_name)?;
    let filter = input.function_version.as_deref();
    let number = filter
        .map(|text| version(context, &function, text))
        .transpose()?;
    let filters = [Some(function.as_str()), filter];
    let marker = context.open_marker(input.marker.as_deref(), &filters)?;
    let after = marker.unwrap_or_default();
    let limit = input.max_items.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
    let name = function.clone();
    let found = context.store(move |store, owner| {
        // One more tells whether there is another page.
        store.aliases(owner, &name, number, &after, limit + 1)
    });
    let mut found = found.await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| has_more);
    Ok(ListAliasesOutput {
        next_marker: last.map(|last| context.seal_marker(&last.name, &filters)),
        aliases: Some(found.into_iter().map(shape::alias).collect()),
    })
}
