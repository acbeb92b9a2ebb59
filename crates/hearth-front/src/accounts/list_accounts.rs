//! `GET /hearth/v1/accounts`: lists all accounts.

use serde_json::json;

use super::{Context, fault, shape};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let accounts = context.control.accounts().await.map_err(fault)?;
    let accounts: Vec<_> = accounts.iter().map(shape::account).collect();
    Ok(rest(200, Some(&json!({"accounts": accounts}))))
}
