//! `hearth function create` and `update`: code and settings go to the service, and count when this returns.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use hearth_client::{Client, FunctionCode, Payload};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::source::{self, Code};
use super::{guess, members};
use crate::cli::function::{CreateArguments, SettingArguments, UpdateArguments};
use crate::output;
use crate::refused::{FunctionNotReady, Unfit};
use crate::shared::Shared;
use crate::view::{size, text};

/// Largest zip of a request (AWS). Larger ones go through a bucket.
const MAX_ZIP_BYTES: usize = 52_428_800;

/// The execution role of functions that name none.
const ROLE: &str = "hearth-function";

/// Who may assume it.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// Pause between two polls of a function.
const POLL: Duration = Duration::from_millis(100);

/// Longest wait until a function is ready: a disk of its code is made meanwhile.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn create(
    shared: &Shared,
    client: &Client,
    arguments: &CreateArguments,
) -> Result<ExitCode> {
    let name = named(arguments.name.as_ref(), &arguments.code)?;
    let code = source::read(&arguments.code)?;
    let deployment = Deployment {
        client,
        name: &name,
        settings: &arguments.settings,
        bucket: &arguments.bucket,
    };
    let created = deployment.create(&code).await?;
    told(shared, &name, &created)
}

pub(super) async fn update(
    shared: &Shared,
    client: &Client,
    arguments: &UpdateArguments,
) -> Result<ExitCode> {
    let name = match (&arguments.name, &arguments.code) {
        (Some(name), _) => name.clone(),
        (None, Some(code)) => source::name_of(code)?,
        (None, None) => {
            let nothing = "name the folder or zip with the new code, or a function with --name";
            return Err(Unfit(nothing.to_owned()).into());
        }
    };
    let code = arguments.code.as_deref().map(source::read).transpose()?;
    if code.is_none() && members::settings(&arguments.settings).is_empty() {
        let nothing = "nothing is to be changed: name a folder with the new code, or settings";
        return Err(Unfit(nothing.to_owned()).into());
    }
    let deployment = Deployment {
        client,
        name: &name,
        settings: &arguments.settings,
        bucket: &arguments.bucket,
    };
    let mut updated = deployment.wait().await?;
    if let Some(code) = &code {
        updated = deployment.update_code(code).await?;
    }
    if let Some(configured) = deployment.configure().await? {
        updated = configured;
    }
    told(shared, &name, &updated)
}

/// The name that was typed, or that of the code.
pub(super) fn named(typed: Option<&String>, code: &std::path::Path) -> Result<String> {
    match typed {
        Some(name) => Ok(name.clone()),
        None => source::name_of(code),
    }
}

fn told(shared: &Shared, name: &str, configuration: &Value) -> Result<ExitCode> {
    if shared.json {
        output::json(configuration)?;
    } else {
        output::say(name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One function and what it is to become.
pub(super) struct Deployment<'a> {
    pub(super) client: &'a Client,
    pub(super) name: &'a str,
    pub(super) settings: &'a SettingArguments,
    pub(super) bucket: &'a str,
}

impl Deployment<'_> {
    /// Creates the function and waits until it is active. Answers its configuration.
    pub(super) async fn create(&self, code: &Code) -> Result<Value> {
        let typed = self.settings;
        let entry = guess::entry(
            &code.files,
            typed.runtime.as_deref(),
            typed.handler.as_deref(),
        )?;
        let mut input = Value::Object(members::settings(typed));
        input["FunctionName"] = json!(self.name);
        input["Runtime"] = json!(entry.runtime);
        input["Handler"] = json!(entry.handler);
        if typed.role.is_none() {
            input["Role"] = json!(self.default_role().await?);
        }
        input["Code"] = self.code(code).await?.members();
        self.client.create_function(&input).await?;
        self.wait().await
    }

    /// Gives the function other code and waits until it counts.
    pub(super) async fn update_code(&self, code: &Code) -> Result<Value> {
        let code = self.code(code).await?;
        self.client.update_function_code(self.name, &code).await?;
        self.wait().await
    }

    /// Changes the settings that were typed, if any, and waits until they count.
    pub(super) async fn configure(&self) -> Result<Option<Value>> {
        let members = members::settings(self.settings);
        if members.is_empty() {
            return Ok(None);
        }
        let input = Value::Object(members);
        self.client
            .update_function_configuration(self.name, &input)
            .await?;
        self.wait().await.map(Some)
    }

    /// Waits until nothing is under way with the function. Answers its configuration.
    pub(super) async fn wait(&self) -> Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let configuration = self.client.function_configuration(self.name).await?;
            match readiness(&configuration) {
                Readiness::Ready => return Ok(configuration),
                Readiness::Failed(reason) => {
                    let name = self.name.to_owned();
                    return Err(FunctionNotReady::Failed { name, reason }.into());
                }
                Readiness::Pending if Instant::now() > deadline => {
                    let (name, seconds) = (self.name.to_owned(), LIMIT.as_secs());
                    return Err(FunctionNotReady::Late { name, seconds }.into());
                }
                Readiness::Pending => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Where the code goes: into the request, or into a bucket if it is too large for one.
    async fn code(&self, code: &Code) -> Result<FunctionCode> {
        let zip = code.zip.clone();
        eprintln!("{} files in {}", code.count, size(zip.len() as u64));
        if zip.len() <= MAX_ZIP_BYTES {
            return Ok(FunctionCode::Zip(zip));
        }
        let (client, bucket) = (self.client, self.bucket);
        let payload = Payload::from(zip);
        let key = format!("{}/{}.zip", self.name, payload.short_hash());
        let uploaded = async {
            client.ensure_bucket(bucket).await?;
            client.put_object(bucket, &key, payload).await
        };
        let uploaded = uploaded.await;
        uploaded.with_context(|| format!("cannot upload to the bucket {bucket}"))?;
        Ok(FunctionCode::Object {
            bucket: bucket.to_owned(),
            key,
        })
    }

    /// The ARN of the role of functions that name none, which is there then. It is allowed nothing.
    async fn default_role(&self) -> Result<String> {
        let made = self.client.ensure_role(ROLE, TRUST).await;
        made.with_context(|| format!("cannot make the role {ROLE}; name another with --role"))?;
        let account = self.client.account().await?;
        Ok(format!("arn:aws:iam::{account}:role/{ROLE}"))
    }
}

/// Whether a function is as it was asked to be.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    Pending,
    /// With the reason.
    Failed(String),
}

fn readiness(configuration: &Value) -> Readiness {
    let reason = |member: &str| match text(configuration, member) {
        "" => "the service does not say why".to_owned(),
        reason => reason.to_owned(),
    };
    match (
        text(configuration, "State"),
        text(configuration, "LastUpdateStatus"),
    ) {
        ("Failed", _) => Readiness::Failed(reason("StateReason")),
        ("Pending", _) | (_, "InProgress") => Readiness::Pending,
        (_, "Failed") => Readiness::Failed(reason("LastUpdateStatusReason")),
        _ => Readiness::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_waited_for_until_both_states_are_good() {
        let of = |state: &str, update: &str| {
            readiness(&json!({
                "State": state, "StateReason": "s",
                "LastUpdateStatus": update, "LastUpdateStatusReason": "u",
            }))
        };
        assert_eq!(of("Pending", "InProgress"), Readiness::Pending);
        assert_eq!(of("Active", "InProgress"), Readiness::Pending);
        assert_eq!(of("Active", "Successful"), Readiness::Ready);
        assert_eq!(of("Inactive", "Successful"), Readiness::Ready);
        assert_eq!(of("Failed", ""), Readiness::Failed("s".to_owned()));
        assert_eq!(of("Active", "Failed"), Readiness::Failed("u".to_owned()));
        let silent = readiness(&json!({"State": "Failed"}));
        assert!(matches!(silent, Readiness::Failed(reason) if !reason.is_empty()));
    }
}
