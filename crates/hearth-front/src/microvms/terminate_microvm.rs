//! `TerminateMicrovm`: starts to terminate a microVM in any state. Idempotent.

use super::identifiers::microvm_id;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{TerminateMicrovmInput, TerminateMicrovmOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: TerminateMicrovmInput,
) -> Result<TerminateMicrovmOutput, Fault> {
    let id = microvm_id(&input.microvm_identifier)?;
    let done = context.control.terminate_microvm(context.scope(), id).await;
    done.map_err(|error| context.refused(error))?;
    Ok(TerminateMicrovmOutput {})
}
