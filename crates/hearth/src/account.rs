//! `hearth account` and `hearth key`: asked of the running service, wherever it runs.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use hearth_control::id::{AccessKeyId, AccountId};
use hearth_service::OperatorClient;
use http::Method;
use serde_json::{Value, json};

use crate::cli::Shared;
use crate::{env, output};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account. It sees nothing of the others; `hearth key create` makes its first key.
    Create {
        /// Its number: 12 digits.
        account: AccountId,
    },
    /// List accounts.
    Ls,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it. The secret is shown this once.
    Create {
        /// The account that it signs for.
        account: AccountId,
    },
    /// List the keys of an account, or of all.
    Ls {
        /// The account.
        account: Option<AccountId>,
    },
    /// Refuse what a key signs, from the next request on.
    Disable {
        /// The key's id.
        key: AccessKeyId,
    },
    /// Accept a disabled key again.
    Enable {
        /// The key's id.
        key: AccessKeyId,
    },
    /// Remove a key for good.
    Delete {
        /// The key's id.
        key: AccessKeyId,
    },
}

pub(crate) fn run(shared: &Shared, command: &AccountCommand) -> Result<ExitCode> {
    let service = Service::of(shared)?;
    match command {
        AccountCommand::Create { account } => {
            let body = json!({"accountId": account.to_string()});
            let made = service.call(Method::POST, "accounts", Some(&body))?;
            service.show(&made, || println!("made account {account}"))
        }
        AccountCommand::Ls => {
            let listed = service.call(Method::GET, "accounts", None)?;
            service.show(&listed, || {
                let rows = items(&listed, "accounts").map(|item| [text(item, "accountId")]);
                output::table(["ACCOUNT"], &rows.collect::<Vec<_>>());
            })
        }
    }
}

pub(crate) fn run_key(shared: &Shared, command: &KeyCommand) -> Result<ExitCode> {
    let service = Service::of(shared)?;
    match command {
        KeyCommand::Create { account } => {
            let made = service.call(Method::POST, &keys_of(&account.to_string()), None)?;
            service.show(&made, || {
                println!("export AWS_ACCESS_KEY_ID={}", text(&made, "accessKeyId"));
                println!(
                    "export AWS_SECRET_ACCESS_KEY={}",
                    text(&made, "secretAccessKey")
                );
            })
        }
        KeyCommand::Ls { account } => service.list_keys(*account),
        KeyCommand::Disable { key } => service.switch(key, "Inactive"),
        KeyCommand::Enable { key } => service.switch(key, "Active"),
        KeyCommand::Delete { key } => {
            let said = service.call(Method::DELETE, &format!("keys/{key}"), None)?;
            service.show(&said, || println!("removed {key}"))
        }
    }
}

/// The service of a data directory.
struct Service {
    client: OperatorClient,
    runtime: tokio::runtime::Runtime,
    is_json: bool,
}

impl Service {
    fn of(shared: &Shared) -> Result<Self> {
        Ok(Self {
            client: OperatorClient::new(&env::settings(shared)?)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            is_json: shared.json,
        })
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let called = self.runtime.block_on(self.client.call(method, path, body));
        Ok(called?)
    }

    /// Prints an answer as it came, or in words.
    fn show(&self, answer: &Value, in_words: impl FnOnce()) -> Result<ExitCode> {
        if self.is_json {
            output::json(answer)?;
        } else {
            in_words();
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list_keys(&self, account: Option<AccountId>) -> Result<ExitCode> {
        let accounts = match account {
            Some(account) => vec![account.to_string()],
            None => {
                let listed = self.call(Method::GET, "accounts", None)?;
                items(&listed, "accounts")
                    .map(|item| text(item, "accountId"))
                    .collect()
            }
        };
        let mut keys = Vec::new();
        for account in accounts {
            let listed = self.call(Method::GET, &keys_of(&account), None)?;
            keys.extend(items(&listed, "accessKeys").cloned());
        }
        self.show(&json!({"accessKeys": keys}), || {
            let row =
                |key: &Value| ["accessKeyId", "accountId", "status"].map(|name| text(key, name));
            let rows: Vec<_> = keys.iter().map(row).collect();
            output::table(["KEY", "ACCOUNT", "STATUS"], &rows);
        })
    }

    fn switch(&self, key: &AccessKeyId, status: &str) -> Result<ExitCode> {
        let body = json!({"status": status});
        let said = self.call(Method::PUT, &format!("keys/{key}"), Some(&body))?;
        self.show(&said, || println!("{key} is {status}"))
    }
}

fn keys_of(account: &str) -> String {
    format!("accounts/{account}/keys")
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
