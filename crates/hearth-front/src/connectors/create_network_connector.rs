//! `CreateNetworkConnector`: creates a connector. Its state tells later whether it was accepted.

use hearth_control::connector::CreateConnector;

use super::egress::egress;
use super::{invalid, shape};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::{CreateNetworkConnectorInput, CreateNetworkConnectorOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: CreateNetworkConnectorInput,
) -> Result<CreateNetworkConnectorOutput, Fault> {
    // Optional in the model but required by the service (facts section 4).
    let client_token = context
        .request_token(input.client_token)
        .ok_or_else(|| invalid("ClientToken is a required field"))?;
    let egress = egress(input.configuration)?;
    let operator_role = input.operator_role.ok_or_else(|| {
        invalid("NetworkConnectorOperatorRole is required for VPC_EGRESS connector type")
    })?;
    let create = CreateConnector {
        name: input
            .name
            .parse()
            .map_err(|_| invalid("Name must be a name, not an ARN"))?,
        egress,
        operator_role,
        tags: input.tags.unwrap_or_default(),
        client_token,
    };
    let made = context
        .control
        .create_connector(context.scope(), create)
        .await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(shape::created(&made))
}
