//! `ListNetworkConnectorVersions`: lists versions, newest first.

use super::key::connector_key;
use super::shape;
use crate::aws_strings::connector_state;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::{
    ListNetworkConnectorVersionsInput, ListNetworkConnectorVersionsOutput,
};
use crate::model::values::ModelWord;

const MAX_ITEMS: u32 = 100;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListNetworkConnectorVersionsInput,
) -> Result<ListNetworkConnectorVersionsOutput, Fault> {
    let filters = [
        Some(input.identifier.as_str()),
        input.state.map(ModelWord::text),
    ];
    let limit = input.max_items.unwrap_or(MAX_ITEMS);
    let page = context.page(limit, input.marker.as_deref(), &filters)?;
    let key = connector_key(context, &input.identifier)?;
    let found = context.control.connector(context.scope(), &key).await;
    let connector = found.map_err(|error| context.refused(error))?.connector;
    let state = input.state.map(connector_state);
    // The model has a state that no version of Hearth ever takes.
    if state == Some(None) {
        return Ok(ListNetworkConnectorVersionsOutput {
            network_connector_versions: Vec::new(),
            next_marker: None,
        });
    }
    let found = context
        .control
        .connector_versions(context.scope(), &key, state.flatten(), page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let item = |version| shape::version_item(&connector, version);
    Ok(ListNetworkConnectorVersionsOutput {
        network_connector_versions: found.items.iter().map(item).collect(),
        next_marker: context.next_token(found.next, &filters),
    })
}
