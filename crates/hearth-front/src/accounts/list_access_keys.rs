//! `GET /hearth/v1/accounts/{id}/keys`: lists access keys, without their secrets.

use serde_json::json;

use super::{Context, fault, shape};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let keys = context.control.access_keys(context.account()?).await;
    let keys: Vec<_> = keys.map_err(fault)?.iter().map(shape::access_key).collect();
    Ok(rest(200, Some(&json!({"accessKeys": keys}))))
}
