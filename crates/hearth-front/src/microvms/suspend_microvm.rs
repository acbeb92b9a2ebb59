//! `SuspendMicrovm`: starts to suspend a microVM. Idempotent; the state changes later.

use super::identifiers::microvm_id;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{SuspendMicrovmInput, SuspendMicrovmOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: SuspendMicrovmInput,
) -> Result<SuspendMicrovmOutput, Fault> {
    let id = microvm_id(&input.microvm_identifier)?;
    let done = context.control.suspend_microvm(context.scope(), id).await;
    done.map_err(|error| context.refused(error))?;
    Ok(SuspendMicrovmOutput {})
}
