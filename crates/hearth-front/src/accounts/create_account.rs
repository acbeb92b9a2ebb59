//! `POST /hearth/v1/accounts`: creates an account with the number in the body.

use hearth_control::id::AccountId;
use serde::Deserialize;

use super::{Context, fault, shape};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    account_id: String,
}

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let invalid = |cause: &str| Fault::validation(format!("Invalid request: {cause}"));
    let request: Request =
        serde_json::from_slice(&context.call.body).map_err(|error| invalid(&error.to_string()))?;
    let id: AccountId = request
        .account_id
        .parse()
        .map_err(|_| invalid("`accountId` must have 12 digits"))?;
    let account = context.control.create_account(id).await.map_err(fault)?;
    Ok(rest(200, Some(&shape::account(&account))))
}
