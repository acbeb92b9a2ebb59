//! `DeleteNetworkConnector`: all of it, or the version of a qualified ARN.

use serde::Deserialize;
use serde_json::Value;

use super::key::connector_key;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    identifier: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let key = connector_key(context, &request.identifier)?;
    let found = context
        .control
        .delete_connector(context.scope(), &key)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::created(&found)))
}
