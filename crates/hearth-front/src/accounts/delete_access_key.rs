//! `DELETE /hearth/v1/keys/{id}`: deletes an access key.

use super::{Context, fault};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let key = context.other_key()?;
    let deleted = context.control.delete_access_key(&key).await;
    deleted.map_err(fault)?;
    Ok(rest(204, None))
}
