//! `ListNetworkConnectorVersions`: newest first.

use hearth_control::connector::ConnectorState;
use serde::Deserialize;
use serde_json::Value;

use super::key::connector_key;
use super::shape;
use crate::aws_strings::Word;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

const MAX_ITEMS: u32 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    identifier: String,
    state: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let filters = [Some(request.identifier.as_str()), request.state.as_deref()];
    let limit = request.max_items.unwrap_or(MAX_ITEMS);
    let page = context.page(limit, request.marker.as_deref(), &filters)?;
    let key = connector_key(context, &request.identifier)?;
    let found = context.control.connector(context.scope(), &key).await;
    let connector = found.map_err(|error| context.refused(error))?.connector;
    let state = match request.state.as_deref() {
        None => None,
        // The model has states that a version here never takes.
        Some(word) => match ConnectorState::from_text(word) {
            None => return Ok(Answer::Json(shape::versions(&connector, &[], &Value::Null))),
            state => state,
        },
    };
    let found = context
        .control
        .connector_versions(context.scope(), &key, state, page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let next = context.next_token(found.next, &filters);
    Ok(Answer::Json(shape::versions(
        &connector,
        &found.items,
        &next,
    )))
}
