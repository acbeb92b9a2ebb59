//! `ListLayers`: the layers of the account by name, each with its latest version.

use hearth_functions::LayerFilter;

use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{LayersListItem, ListLayersInput, ListLayersOutput};
use crate::model::values::ModelWord as _;

/// Most items of a page.
const PAGE_LIMIT: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListLayersInput,
) -> Result<ListLayersOutput, Fault> {
    let architecture = input.compatible_architecture.map(|word| word.text());
    let filters = [input.compatible_runtime.as_deref(), architecture];
    let marker = context.open_marker(input.marker.as_deref(), &filters)?;
    let after = marker.unwrap_or_default();
    let limit = input.max_items.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT) as usize;
    let filter = LayerFilter {
        runtime: input.compatible_runtime.clone(),
        architecture: architecture.map(str::to_owned),
    };
    let found = context.store(move |store, owner| {
        // One more tells whether there is another page.
        store.layers(owner, &filter, &after, limit + 1)
    });
    let mut found = found.await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| has_more);
    let owner = context.owner();
    let items = found.iter().map(|layer| LayersListItem {
        latest_matching_version: Some(shape::layer_item(&layer.latest)),
        layer_arn: Some(owner.layer_arn(&layer.name)),
        layer_name: Some(layer.name.clone()),
    });
    Ok(ListLayersOutput {
        layers: Some(items.collect()),
        next_marker: last.map(|last| context.seal_marker(&last.name, &filters)),
    })
}
