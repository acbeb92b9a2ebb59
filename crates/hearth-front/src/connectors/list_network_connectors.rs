//! `ListNetworkConnectors`: lists connectors by id.

use super::shape;
use crate::aws_strings::connector_state;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::{ListNetworkConnectorsInput, ListNetworkConnectorsOutput};
use crate::model::values::ModelWord;

/// Connectors in one answer: the bound of the model, below the largest `MaxItems`.
const MAX_ITEMS: u32 = 50;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListNetworkConnectorsInput,
) -> Result<ListNetworkConnectorsOutput, Fault> {
    let filters = [input.state.map(ModelWord::text)];
    let limit = input.max_items.unwrap_or(MAX_ITEMS).min(MAX_ITEMS);
    let page = context.page(limit, input.marker.as_deref(), &filters)?;
    let state = input.state.map(connector_state);
    // The model has a state that no connector of Hearth ever takes.
    if state == Some(None) {
        return Ok(ListNetworkConnectorsOutput {
            network_connectors: Vec::new(),
            next_marker: None,
        });
    }
    let found = context
        .control
        .connectors(context.scope(), state.flatten(), page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;

    Ok(ListNetworkConnectorsOutput {
        network_connectors: found.items.iter().map(shape::connector_item).collect(),
        next_marker: context.next_token(found.next, &filters),
    })
}
