//! `DeleteNetworkConnector`: deletes a connector, or the one version of a qualified ARN.

use super::key::connector_key;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::{DeleteNetworkConnectorInput, DeleteNetworkConnectorOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteNetworkConnectorInput,
) -> Result<DeleteNetworkConnectorOutput, Fault> {
    let key = connector_key(context, &input.identifier)?;
    let found = context
        .control
        .delete_connector(context.scope(), &key)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    Ok(shape::created(&found))
}
