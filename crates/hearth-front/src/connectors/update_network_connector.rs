//! `UpdateNetworkConnector`: makes its next version, or none when nothing changes.

use hearth_control::connector::UpdateConnector;
use hearth_control::image::ClientToken;
use serde::Deserialize;
use serde_json::Value;

use super::egress::ConfigurationRequest;
use super::key::connector_key;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    identifier: String,
    configuration: Option<ConfigurationRequest>,
    operator_role: Option<String>,
    client_token: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let configuration = request.configuration;
    let update = UpdateConnector {
        key: connector_key(context, &request.identifier)?,
        egress: configuration
            .map(ConfigurationRequest::into_egress)
            .transpose()?,
        operator_role: request.operator_role,
        client_token: request.client_token.map(ClientToken),
    };
    let made = context
        .control
        .update_connector(context.scope(), update)
        .await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::updated(&made)))
}
