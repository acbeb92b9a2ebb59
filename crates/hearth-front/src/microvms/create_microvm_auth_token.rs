//! `CreateMicrovmAuthToken`: a token for ports of an application.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;

use super::token_request::{lifetime, living_microvm, mint};
use crate::endpoint_tokens::{Access, Grant};
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    microvm_identifier: String,
    expiration_in_minutes: u64,
    allowed_ports: Vec<PortRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortRequest {
    port: Option<u16>,
    range: Option<RangeRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RangeRequest {
    start_port: u16,
    end_port: u16,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let lifetime = lifetime(request.expiration_in_minutes)?;
    let ports = request
        .allowed_ports
        .iter()
        .map(ports)
        .collect::<Result<_, _>>()?;
    let microvm = living_microvm(context, &request.microvm_identifier).await?;
    mint(
        context,
        &Grant {
            microvm: microvm.id,
            access: Access::Ports(ports),
            lifetime,
        },
    )
}

/// The union has one member; without `port` and `range` it is `allPorts`.
fn ports(request: &PortRequest) -> Result<RangeInclusive<u16>, Fault> {
    match (request.port, &request.range) {
        (Some(port), _) => Ok(port..=port),
        (None, None) => Ok(1..=u16::MAX),
        (None, Some(range)) if range.start_port <= range.end_port => {
            Ok(range.start_port..=range.end_port)
        }
        (None, Some(_)) => Err(Fault::validation(
            "startPort must not be greater than endPort.",
        )),
    }
}
