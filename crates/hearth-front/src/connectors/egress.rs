//! The configuration of a connector as requests say it.

use hearth_control::connector::{ComputeKind, ElasticIp, NetworkProtocol, VpcEgress};
use serde::Deserialize;

use super::invalid;
use crate::aws_strings::Word;
use crate::fault::Fault;

/// A union with one arm.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConfigurationRequest {
    vpc_egress_configuration: EgressRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EgressRequest {
    subnet_ids: Option<Vec<String>>,
    security_group_ids: Option<Vec<String>>,
    network_protocol: Option<String>,
    associated_compute_resource_types: Option<Vec<String>>,
    elastic_ip_configuration: Option<ElasticIpRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ElasticIpRequest {
    r#type: String,
}

impl ConfigurationRequest {
    /// The domain's form; what the service demands beyond its model is demanded here.
    pub(super) fn into_egress(self) -> Result<VpcEgress, Fault> {
        let request = self.vpc_egress_configuration;
        let protocol = request
            .network_protocol
            .as_deref()
            .and_then(NetworkProtocol::from_text);
        let computes = request
            .associated_compute_resource_types
            .unwrap_or_default();
        let compute = computes
            .first()
            .and_then(|word| ComputeKind::from_text(word));
        let elastic_ip = request.elastic_ip_configuration;
        Ok(VpcEgress {
            subnet_ids: request
                .subnet_ids
                .ok_or_else(|| invalid("SubnetIds cannot be null or empty"))?,
            security_group_ids: request.security_group_ids,
            protocol: protocol.ok_or_else(|| invalid("NetworkProtocol cannot be null or empty"))?,
            compute: compute
                .ok_or_else(|| invalid("AssociatedComputeResourceTypes cannot be null or empty"))?,
            elastic_ip: elastic_ip.and_then(|request| ElasticIp::from_text(&request.r#type)),
        })
    }
}
