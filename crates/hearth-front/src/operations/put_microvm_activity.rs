//! `PUT .../activity`: sets what counts as activity of a microVM besides traffic.

use hearth_control::microvm::Activity;
use hearth_control::throttle::Rate;
use serde::Deserialize;

use super::Context;
use super::get_microvm_activity::shape;
use crate::fault::Fault;
use crate::lambda::refusal;
use crate::wire::Reply;
use crate::wire::json::rest;

/// The whole setting: a member that is absent does not count as activity.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    #[serde(default)]
    execs: bool,
    #[serde(default)]
    guest_cpu: bool,
}

pub(super) async fn perform(context: &Context<'_>, body: &[u8]) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherWrite)?;
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Fault::validation(format!("Invalid request: {error}")))?;
    let activity = Activity {
        execs: request.execs,
        guest_cpu: request.guest_cpu,
    };
    let id = context.microvm().await?.id;
    let control = &context.operations.control;
    let set = control.set_activity(&context.caller.scope, id, activity);
    set.await.map_err(refusal::outside_lambda)?;
    Ok(rest(200, Some(&shape(activity))))
}
