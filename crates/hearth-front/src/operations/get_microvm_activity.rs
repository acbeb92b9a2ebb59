//! `GET .../activity`: returns what counts as activity of a microVM besides traffic.

use hearth_control::microvm::Activity;
use hearth_control::throttle::Rate;
use serde_json::{Value, json};

use super::Context;
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherRead)?;
    let microvm = context.microvm().await?;
    Ok(rest(200, Some(&shape(microvm.activity))))
}

/// The answer of both operations.
pub(super) fn shape(activity: Activity) -> Value {
    json!({"execs": activity.execs, "guestCpu": activity.guest_cpu})
}
