//! `ListNetworkConnectors`: by id.

use hearth_control::connector::ConnectorState;
use serde::Deserialize;
use serde_json::Value;

use super::shape;
use crate::aws_strings::Word;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

/// Connectors that one answer may list: the model's bound, below the greatest `MaxItems`.
const MAX_ITEMS: u32 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    state: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let filters = [request.state.as_deref()];
    let limit = request.max_items.unwrap_or(MAX_ITEMS).min(MAX_ITEMS);
    let page = context.page(limit, request.marker.as_deref(), &filters)?;
    let state = match request.state.as_deref() {
        None => None,
        // The model has states that a connector here never takes.
        Some(word) => match ConnectorState::from_text(word) {
            None => return Ok(Answer::Json(shape::connectors(&[], &Value::Null))),
            state => state,
        },
    };
    let found = context
        .control
        .connectors(context.scope(), state, page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let next = context.next_token(found.next, &filters);
    Ok(Answer::Json(shape::connectors(&found.items, &next)))
}
