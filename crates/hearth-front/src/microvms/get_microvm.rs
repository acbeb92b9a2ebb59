//! `GetMicrovm`: returns a microVM, even if it is TERMINATED.

use super::identifiers::microvm_id;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{GetMicrovmInput, GetMicrovmOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetMicrovmInput,
) -> Result<GetMicrovmOutput, Fault> {
    let id = microvm_id(&input.microvm_identifier)?;
    let microvm = context.control.microvm(context.scope(), id).await;
    let microvm = microvm.map_err(|error| context.refused(error))?;
    Ok(shape::microvm(&microvm))
}
