//! `UpdateNetworkConnector`: creates the next version, or none if nothing changes.

use hearth_control::connector::UpdateConnector;

use super::egress::egress;
use super::key::connector_key;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::{UpdateNetworkConnectorInput, UpdateNetworkConnectorOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateNetworkConnectorInput,
) -> Result<UpdateNetworkConnectorOutput, Fault> {
    let update = UpdateConnector {
        key: connector_key(context, &input.identifier)?,
        egress: input.configuration.map(egress).transpose()?,
        operator_role: input.operator_role,
        client_token: context.request_token(input.client_token),
    };
    let made = context
        .control
        .update_connector(context.scope(), update)
        .await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(shape::updated(&made))
}
