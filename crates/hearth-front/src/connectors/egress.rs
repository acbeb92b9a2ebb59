//! Reads the configuration of a connector from a request.

use hearth_control::connector::VpcEgress;

use super::invalid;
use crate::fault::Fault;
use crate::model::lambda_core::NetworkConnectorConfiguration;

/// Converts to the domain's form. Members that the service requires beyond its model are checked here.
pub(super) fn egress(configuration: NetworkConnectorConfiguration) -> Result<VpcEgress, Fault> {
    let NetworkConnectorConfiguration::VpcEgressConfiguration(wanted) = configuration;
    let computes = wanted.associated_compute_resource_types.unwrap_or_default();
    let compute = computes.first().copied();
    Ok(VpcEgress {
        subnet_ids: wanted
            .subnet_ids
            .ok_or_else(|| invalid("SubnetIds cannot be null or empty"))?,
        security_group_ids: wanted.security_group_ids,
        protocol: wanted
            .network_protocol
            .map(Into::into)
            .ok_or_else(|| invalid("NetworkProtocol cannot be null or empty"))?,
        compute: compute
            .map(Into::into)
            .ok_or_else(|| invalid("AssociatedComputeResourceTypes cannot be null or empty"))?,
        elastic_ip: (wanted.elastic_ip_configuration).map(|wanted| wanted.r#type.into()),
    })
}
