//! Code that both token operations use.

use std::time::Duration;

use hearth_control::life::MicrovmState;
use hearth_control::microvm::Microvm;

use super::identifiers::microvm_id;
use crate::endpoint_tokens::Grant;
use crate::fault::Fault;
use crate::lambda::{Context, refusal};
use crate::model::lambda_microvms::CreateMicrovmAuthTokenOutput;
use crate::model::values::Sensitive;

/// Longest lifetime of a token, in minutes.
const MAX_MINUTES: u64 = 60;

/// The header that carries a token to an endpoint, and its key in the answer.
const TOKEN_HEADER: &str = "X-aws-proxy-auth";

pub(super) fn lifetime(minutes: u64) -> Result<Duration, Fault> {
    if minutes > MAX_MINUTES {
        return Err(Fault::validation(format!(
            "ExpirationMinutes {minutes} exceeded max allowed of {MAX_MINUTES}."
        )));
    }
    Ok(Duration::from_secs(minutes * 60))
}

/// The microVM, which may be suspended. A terminated one is refused.
pub(super) async fn living_microvm(context: &Context<'_>, id: &str) -> Result<Microvm, Fault> {
    let found = context
        .control
        .microvm(context.scope(), microvm_id(id)?)
        .await;
    let microvm = found.map_err(|error| context.refused(error))?;
    match microvm.state() {
        MicrovmState::Terminating | MicrovmState::Terminated => {
            Err(Fault::validation(refusal::terminated(id)))
        }
        _ => Ok(microvm),
    }
}

pub(super) fn mint(
    context: &Context<'_>,
    grant: &Grant,
) -> Result<CreateMicrovmAuthTokenOutput, Fault> {
    let token = context
        .endpoint_tokens
        .mint(grant)
        .map_err(|error| Fault::internal(&error))?;
    let auth_token = [(TOKEN_HEADER.to_owned(), Sensitive(token))].into();
    Ok(CreateMicrovmAuthTokenOutput { auth_token })
}
