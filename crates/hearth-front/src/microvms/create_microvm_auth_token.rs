//! `CreateMicrovmAuthToken`: issues a token for ports of an application.

use std::ops::RangeInclusive;

use super::token_request::{lifetime, living_microvm, mint};
use crate::endpoint_tokens::{Access, Grant};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    CreateMicrovmAuthTokenInput, CreateMicrovmAuthTokenOutput, PortSpecification,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: CreateMicrovmAuthTokenInput,
) -> Result<CreateMicrovmAuthTokenOutput, Fault> {
    let lifetime = lifetime(input.expiration_in_minutes)?;
    let ports = input
        .allowed_ports
        .iter()
        .map(ports)
        .collect::<Result<_, _>>()?;
    let microvm = living_microvm(context, &input.microvm_identifier).await?;
    mint(
        context,
        &Grant {
            microvm: microvm.id,
            access: Access::Ports(ports),
            lifetime,
        },
    )
}

fn ports(wanted: &PortSpecification) -> Result<RangeInclusive<u16>, Fault> {
    match wanted {
        PortSpecification::Port(port) => Ok(*port..=*port),
        PortSpecification::AllPorts {} => Ok(1..=u16::MAX),
        PortSpecification::Range(range) if range.start_port <= range.end_port => {
            Ok(range.start_port..=range.end_port)
        }
        PortSpecification::Range(_) => Err(Fault::validation(
            "startPort must not be greater than endPort.",
        )),
    }
}
