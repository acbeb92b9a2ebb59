//! `hearth account` and `hearth key`: calls of the running service, local or remote.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use hearth_control::account::AccountName;
use hearth_control::id::{AccessKeyId, AccountId};
use serde_json::{Value, json};

use crate::cli::account::{AccountCommand, KeyCommand};
use crate::names::only_account;
use crate::output;
use crate::shared::Shared;

pub(crate) async fn run(
    shared: &Shared,
    client: &Client,
    command: &AccountCommand,
) -> Result<ExitCode> {
    match command {
        AccountCommand::Create { account, name } => {
            let number = account.as_ref().map(AccountId::to_string);
            let name = name.as_ref().map(AccountName::as_str);
            let made = client.create_account(number.as_deref(), name).await?;
            show(shared, &made, || {
                let number = text(&made, "accountId");
                match name {
                    Some(name) => output::say(&format!("made account {number}, {name}")),
                    None => output::say(&format!("made account {number}")),
                }
            })
        }
        AccountCommand::Ls => {
            let listed = client.accounts().await?;
            show(shared, &listed, || {
                let row = |item| [text(item, "accountId"), text(item, "name")];
                let rows: Vec<_> = items(&listed, "accounts").map(row).collect();
                output::table(["ACCOUNT", "NAME"], &rows)
            })
        }
    }
}

pub(crate) async fn run_key(
    shared: &Shared,
    client: &Client,
    command: &KeyCommand,
) -> Result<ExitCode> {
    match command {
        KeyCommand::Create { account } => {
            let account = number_of(client, account).await?;
            let made = client.create_key(&account).await?;
            show(shared, &made, || {
                let (id, secret) = (text(&made, "accessKeyId"), text(&made, "secretAccessKey"));
                output::say(&format!(
                    "export AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY={secret}"
                ))
            })
        }
        KeyCommand::Ls { account } => list_keys(shared, client, account.as_deref()).await,
        KeyCommand::Disable { key } => switch(shared, client, key, "Inactive").await,
        KeyCommand::Enable { key } => switch(shared, client, key, "Active").await,
        KeyCommand::Delete { key } => {
            let said = client.delete_key(&key.to_string()).await?;
            show(shared, &said, || output::say(&format!("removed {key}")))
        }
    }
}

/// The number of an account that was typed as its number or its name.
async fn number_of(client: &Client, typed: &str) -> Result<String> {
    if typed.parse::<AccountId>().is_ok() {
        return Ok(typed.to_owned());
    }
    let listed = client.accounts().await?;
    let named = items(&listed, "accounts").filter(|item| text(item, "name") == typed);
    let numbers: Vec<_> = named.map(|item| text(item, "accountId")).collect();
    Ok(only_account(typed, &numbers)?)
}

async fn list_keys(shared: &Shared, client: &Client, account: Option<&str>) -> Result<ExitCode> {
    let accounts = match account {
        Some(account) => vec![number_of(client, account).await?],
        None => {
            let listed = client.accounts().await?;
            items(&listed, "accounts")
                .map(|item| text(item, "accountId"))
                .collect()
        }
    };
    let mut keys = Vec::new();
    for account in accounts {
        let listed = client.keys(&account).await?;
        keys.extend(items(&listed, "accessKeys").cloned());
    }
    show(shared, &json!({ "accessKeys": keys }), || {
        let row = |key: &Value| ["accessKeyId", "accountId", "status"].map(|name| text(key, name));
        let rows: Vec<_> = keys.iter().map(row).collect();
        output::table(["KEY", "ACCOUNT", "STATUS"], &rows)
    })
}

async fn switch(
    shared: &Shared,
    client: &Client,
    key: &AccessKeyId,
    status: &str,
) -> Result<ExitCode> {
    let said = client.set_key_status(&key.to_string(), status).await?;
    show(shared, &said, || output::say(&format!("{key} is {status}")))
}

/// Prints an answer as JSON, or as text.
fn show(
    shared: &Shared,
    answer: &Value,
    in_words: impl FnOnce() -> Result<()>,
) -> Result<ExitCode> {
    if shared.json {
        output::json(answer)?;
    } else {
        in_words()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn items<'v>(answer: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    answer
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text(item: &Value, name: &str) -> String {
    item.get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
