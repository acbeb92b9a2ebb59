//! `CreateNetworkConnector`: whether it is accepted shows later in its state.

use hearth_control::connector::CreateConnector;
use hearth_control::image::{ClientToken, Tags};
use serde::Deserialize;
use serde_json::Value;

use super::egress::ConfigurationRequest;
use super::{invalid, shape};
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    name: String,
    configuration: ConfigurationRequest,
    operator_role: Option<String>,
    client_token: Option<String>,
    tags: Option<Tags>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    // Optional in the model and demanded by the service (facts section 4).
    let client_token = request
        .client_token
        .ok_or_else(|| invalid("ClientToken is a required field"))?;
    let egress = request.configuration.into_egress()?;
    let operator_role = request.operator_role.ok_or_else(|| {
        invalid("NetworkConnectorOperatorRole is required for VPC_EGRESS connector type")
    })?;
    let create = CreateConnector {
        name: request
            .name
            .parse()
            .map_err(|_| invalid("Name must be a name, not an ARN"))?,
        egress,
        operator_role,
        tags: request.tags.unwrap_or_default(),
        client_token: ClientToken(client_token),
    };
    let made = context
        .control
        .create_connector(context.scope(), create)
        .await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::created(&made)))
}
