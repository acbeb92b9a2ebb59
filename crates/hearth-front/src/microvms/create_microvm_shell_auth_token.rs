//! `CreateMicrovmShellAuthToken`: issues a token for the shell of a microVM that has one.

use hearth_control::arn::{ConnectorRef, ManagedConnector};

use super::token_request::{lifetime, living_microvm, mint};
use crate::endpoint_tokens::{Access, Grant};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    CreateMicrovmShellAuthTokenInput, CreateMicrovmShellAuthTokenOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: CreateMicrovmShellAuthTokenInput,
) -> Result<CreateMicrovmShellAuthTokenOutput, Fault> {
    let lifetime = lifetime(input.expiration_in_minutes)?;
    let microvm = living_microvm(context, &input.microvm_identifier).await?;
    check_ingress(&microvm.terms.ingress)?;
    mint(
        context,
        &Grant {
            microvm: microvm.id,
            access: Access::Shell,
            lifetime,
        },
    )
}

/// A launch accepts any combination of ingress connectors. AWS checks it here (facts section 19).
fn check_ingress(ingress: &[ConnectorRef]) -> Result<(), Fault> {
    let has = |wanted: ManagedConnector| {
        ingress.iter().any(|connector| {
            matches!(connector, ConnectorRef::Managed { connector, .. } if *connector == wanted)
        })
    };
    if has(ManagedConnector::AllIngress) {
        return match ingress.len() {
            1 => Ok(()),
            _ => Err(Fault::validation(
                "ALL_INGRESS cannot be combined with other ingress network connectors; \
                 use HTTP_INGRESS and/or SHELL_INGRESS instead",
            )),
        };
    }
    if has(ManagedConnector::ShellIngress) {
        return Ok(());
    }
    Err(Fault::validation(
        "Shell access requires SHELL_INGRESS network connector to be configured on the MicroVM.",
    ))
}
