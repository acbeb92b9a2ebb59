//! `GET /hearth/v1/accounts`: lists all accounts.

use hearth_control::account::Account;
use serde_json::json;

use super::{Context, fault, shape};
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let accounts = context.control.accounts().await.map_err(fault)?;
    let names = context.control.account_names().await.map_err(fault)?;
    let shown = |account: &Account| {
        let name = names.get(&account.id).map(String::as_str);
        shape::account(account, name)
    };
    let accounts: Vec<_> = accounts.iter().map(shown).collect();
    Ok(rest(200, Some(&json!({"accounts": accounts}))))
}
