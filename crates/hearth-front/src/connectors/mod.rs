//! `lambda-core`: its six network connector operations, one file each.
//!
//! The other sixteen operations of that service are about runtimes of ordinary functions. Hearth has none, and
//! [`crate::lambda`] refuses them.

mod create_network_connector;
mod delete_network_connector;
mod get_network_connector;
mod list_network_connector_versions;
mod list_network_connectors;
mod update_network_connector;

mod egress;
mod key;
mod shape;

use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_core::*;

impl LambdaCore for Context<'_> {
    async fn create_network_connector(
        &self,
        input: CreateNetworkConnectorInput,
    ) -> Result<CreateNetworkConnectorOutput, Fault> {
        create_network_connector::perform(self, input).await
    }

    async fn delete_network_connector(
        &self,
        input: DeleteNetworkConnectorInput,
    ) -> Result<DeleteNetworkConnectorOutput, Fault> {
        delete_network_connector::perform(self, input).await
    }

    async fn get_network_connector(
        &self,
        input: GetNetworkConnectorInput,
    ) -> Result<GetNetworkConnectorOutput, Fault> {
        get_network_connector::perform(self, input).await
    }

    async fn list_network_connector_versions(
        &self,
        input: ListNetworkConnectorVersionsInput,
    ) -> Result<ListNetworkConnectorVersionsOutput, Fault> {
        list_network_connector_versions::perform(self, input).await
    }

    async fn list_network_connectors(
        &self,
        input: ListNetworkConnectorsInput,
    ) -> Result<ListNetworkConnectorsOutput, Fault> {
        list_network_connectors::perform(self, input).await
    }

    async fn update_network_connector(
        &self,
        input: UpdateNetworkConnectorInput,
    ) -> Result<UpdateNetworkConnectorOutput, Fault> {
        update_network_connector::perform(self, input).await
    }
}

/// The error of lambda-core for values that violate rules beyond the model.
fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterValueException", message)
}
