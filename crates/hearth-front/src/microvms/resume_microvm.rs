//! `ResumeMicrovm`: starts to resume a microVM. Idempotent; the state changes later.

use super::identifiers::microvm_id;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{ResumeMicrovmInput, ResumeMicrovmOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ResumeMicrovmInput,
) -> Result<ResumeMicrovmOutput, Fault> {
    let id = microvm_id(&input.microvm_identifier)?;
    let done = context.control.resume_microvm(context.scope(), id).await;
    done.map_err(|error| context.refused(error))?;
    Ok(ResumeMicrovmOutput {})
}
