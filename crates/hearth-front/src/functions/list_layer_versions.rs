//! `ListLayerVersions`: the versions of a layer, newest first.

use hearth_functions::LayerFilter;

use super::layer_names::own_layer;
use super::names::invalid;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{ListLayerVersionsInput, ListLayerVersionsOutput};
use crate::model::values::ModelWord as _;

/// Most items of a page.
const PAGE_LIMIT: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListLayerVersionsInput,
) -> Result<ListLayerVersionsOutput, Fault> {
    let name = own_layer(context, &input.layer_name)?;
    let architecture = input.compatible_architecture.map(|word| word.text());
    let filters = [
        Some(name.as_str()),
        input.compatible_runtime.as_deref(),
        architecture,
    ];
    let marker = context.open_marker(input.marker.as_deref(), &filters)?;
    let before = marker.as_deref().map(str::parse::<u32>).transpose();
    let before = before.map_err(|_| invalid("Invalid marker"))?;
    let limit = input.max_items.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT) as usize;
    let filter = LayerFilter {
        runtime: input.compatible_runtime.clone(),
        architecture: architecture.map(str::to_owned),
    };
    let layer = name.clone();
    let found = context.store(move |store, owner| {
        // One more tells whether there is another page.
        store.layer_versions(owner, &layer, &filter, before, limit + 1)
    });
    let mut found = found.await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| has_more);
    let last = last.map(|last| last.arn.version.to_string());
    Ok(ListLayerVersionsOutput {
        layer_versions: Some(found.iter().map(shape::layer_item).collect()),
        next_marker: last.map(|last| context.seal_marker(&last, &filters)),
    })
}
