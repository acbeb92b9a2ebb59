//! `GetNetworkConnector`: the version of a qualified ARN, or else the latest version.

use super::key::connector_key;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::{GetNetworkConnectorInput, GetNetworkConnectorOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetNetworkConnectorInput,
) -> Result<GetNetworkConnectorOutput, Fault> {
    let key = connector_key(context, &input.identifier)?;
    let found = context.control.connector(context.scope(), &key).await;
    let found = found.map_err(|error| context.refused(error))?;
    Ok(shape::found(&found, &key))
}
