//! Stored form of a connector's configuration.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::connector::{ComputeKind, ElasticIp, NetworkProtocol, VpcEgress};
use crate::store::text::Word as _;

#[derive(Serialize, Deserialize)]
pub(crate) struct EgressForm {
    subnets: Vec<String>,
    groups: Option<Vec<String>>,
    protocol: String,
    compute: String,
    elastic_ip: Option<String>,
}

impl Stored for VpcEgress {
    const KIND: &'static str = "network connector";
    type Form = EgressForm;

    fn to_form(&self) -> EgressForm {
        EgressForm {
            subnets: self.subnet_ids.clone(),
            groups: self.security_group_ids.clone(),
            protocol: self.protocol.word().to_owned(),
            compute: self.compute.word().to_owned(),
            elastic_ip: self
                .elastic_ip
                .map(|elastic_ip| elastic_ip.word().to_owned()),
        }
    }

    fn from_form(form: EgressForm) -> Option<Self> {
        let elastic_ip = match form.elastic_ip {
            Some(word) => Some(ElasticIp::of_word(&word).ok()?),
            None => None,
        };
        Some(Self {
            subnet_ids: form.subnets,
            security_group_ids: form.groups,
            protocol: NetworkProtocol::of_word(&form.protocol).ok()?,
            compute: ComputeKind::of_word(&form.compute).ok()?,
            elastic_ip,
        })
    }
}
