//! `POST /hearth/v1/accounts/{id}/keys`: creates an access key. The only answer that shows a secret.

use serde_json::json;

use super::{Context, fault, shape};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let key = context.control.create_access_key(context.account()?).await;
    let key = key.map_err(fault)?;
    let mut answer = shape::access_key(&key);
    answer["secretAccessKey"] = json!(key.secret.reveal());
    Ok(rest(200, Some(&answer)))
}
