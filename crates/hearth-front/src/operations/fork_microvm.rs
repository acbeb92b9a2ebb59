//! `POST .../fork`: reserved. A child needs its own record, endpoint, quota and journal entries before its memory is
//! copied; until the control plane makes those, the answer says so.

use hearth_control::throttle::Rate;

use super::Context;
use crate::fault::Fault;
use crate::wire::Reply;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::Run)?;
    context.microvm().await?;
    Err(Fault::new(
        501,
        "NotImplementedException",
        "Forking a MicroVM is not implemented by this Hearth installation. \
         RunMicrovm starts another one from the same image.",
    ))
}
