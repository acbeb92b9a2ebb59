//! `GET .../times`: returns how long each step of a microVM's last start took.

use std::time::Duration;

use hearth_control::start_times::StartTimes;
use hearth_control::throttle::Rate;
use serde_json::{Value, json};

use super::Context;
use crate::fault::Fault;
use crate::model::values::EpochSeconds;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherRead)?;
    let microvm = context.microvm().await?;
    let times = context.operations.control.start_times(microvm.id);
    Ok(rest(200, Some(&shape(times.as_ref()))))
}

fn shape(times: Option<&StartTimes>) -> Value {
    let steps = times
        .map(|times| times.steps.as_slice())
        .unwrap_or_default();
    let total: Duration = steps.iter().map(|step| step.took).sum();
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| json!({"name": step.name, "microseconds": microseconds(step.took)}))
        .collect();
    json!({
        "kind": times.map(|times| times.kind.text()),
        "beganAt": times.map(|times| EpochSeconds::from(times.began)),
        "steps": steps,
        "totalMicroseconds": microseconds(total),
    })
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
