//! `POST /hearth/v1/accounts`: creates an account, with the number and the name in the body or a number of its own.

use hearth_control::account::{AccountName, CreateAccount};
use hearth_control::id::AccountId;
use serde::Deserialize;

use super::{Context, fault, shape};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    account_id: Option<String>,
    name: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let invalid = |cause: &str| Fault::validation(format!("Invalid request: {cause}"));
    let request: Request =
        serde_json::from_slice(&context.call.body).map_err(|error| invalid(&error.to_string()))?;
    let id = request.account_id.as_deref().map(str::parse::<AccountId>);
    let id = id.transpose();
    let id = id.map_err(|_| invalid("`accountId` must have 12 digits"))?;
    let named = request.name.as_deref().map(str::parse::<AccountName>);
    let named = named.transpose();
    let named = named.map_err(|error| invalid(&format!("`name`: {error}")))?;
    if id.is_none() && named.is_none() {
        return Err(invalid("`accountId` or `name` must be there"));
    }
    let create = CreateAccount { id, name: named };
    let account = context.control.create_account(create).await;
    let account = account.map_err(fault)?;
    let answer = shape::account(&account, request.name.as_deref());
    Ok(rest(200, Some(&answer)))
}
