//! `ListFunctions`: the functions of the account by name, or all their versions.

use hearth_functions::VersionId;

use super::names::invalid;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{ListFunctionsInput, ListFunctionsOutput};

/// Most items of a page, whatever a request asks for.
const PAGE_LIMIT: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListFunctionsInput,
) -> Result<ListFunctionsOutput, Fault> {
    let with_all_versions = input.function_version.is_some();
    let filter = with_all_versions.then_some("ALL");
    let marker = context.open_marker(input.marker.as_deref(), &[filter])?;
    let after = marker.as_deref().map(place).transpose()?;
    let limit = input.max_items.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
    let found = context.store(move |store, owner| {
        let after = after
            .as_ref()
            .map(|(name, version)| (name.as_str(), *version));
        // One more tells whether there is another page.
        store.functions(owner, with_all_versions, after, limit + 1)
    });
    let mut found = found.await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| has_more);
    let next = last.map(|last| format!("{}:{}", last.name, last.version));
    let item = |version| {
        let arn = match with_all_versions {
            true => shape::qualified_arn(version),
            false => version.function_arn.clone(),
        };
        shape::list_item(version, arn)
    };
    Ok(ListFunctionsOutput {
        functions: Some(found.iter().map(item).collect()),
        next_marker: next.map(|next| context.seal_marker(&next, &[filter])),
    })
}

/// Where a page begins.
fn place(marker: &str) -> Result<(String, VersionId), Fault> {
    let place = marker.split_once(':').and_then(|(name, version)| {
        let version: VersionId = version.parse().ok()?;
        Some((name.to_owned(), version))
    });
    place.ok_or_else(|| invalid("Invalid marker"))
}
