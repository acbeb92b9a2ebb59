//! `lambda-core`: its six network connector operations, one file each.
//!
//! The other sixteen operations of that service are about runtimes of ordinary functions, which
//! Hearth does not have; [`crate::lambda`] says so.

mod create_network_connector;
mod delete_network_connector;
mod get_network_connector;
mod list_network_connector_versions;
mod list_network_connectors;
mod update_network_connector;

mod egress;
mod key;
mod shape;

use serde_json::Value;

use crate::fault::Fault;
use crate::lambda::{Answer, Context};

/// Performs the operation of the context on an input that its table has accepted.
pub(crate) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    match context.operation.name {
        "CreateNetworkConnector" => create_network_connector::perform(context, input).await,
        "DeleteNetworkConnector" => delete_network_connector::perform(context, input).await,
        "GetNetworkConnector" => get_network_connector::perform(context, input).await,
        "ListNetworkConnectorVersions" => {
            list_network_connector_versions::perform(context, input).await
        }
        "ListNetworkConnectors" => list_network_connectors::perform(context, input).await,
        "UpdateNetworkConnector" => update_network_connector::perform(context, input).await,
        other => Err(Fault::not_implemented(other)),
    }
}

/// What lambda-core answers to values that its own rules refuse.
fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterValueException", message)
}
