//! `PUT /hearth/v1/keys/{id}`: activates or disables an access key, from the next request on.

use hearth_control::account::KeyStatus;
use serde::Deserialize;

use super::{Context, fault};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    status: Status,
}

#[derive(Deserialize)]
enum Status {
    Active,
    Inactive,
}

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let request: Request = serde_json::from_slice(&context.call.body)
        .map_err(|error| Fault::validation(format!("Invalid request: {error}")))?;
    let status = match request.status {
        Status::Active => KeyStatus::Active,
        Status::Inactive => KeyStatus::Disabled,
    };
    let key = context.other_key()?;
    let changed = context.control.set_access_key_status(&key, status).await;
    changed.map_err(fault)?;
    Ok(rest(204, None))
}
