//! Attacks on policies that deny one spelling of a name.

use anyhow::{Context, Result};
use hearth_client::{Client, RawAnswer, RawRequest, Settings, encode};
use http::Method;
use serde_json::{Value, json};

use super::super::attempt::Attempt;
use super::super::fixture::{Fixture, NAME, expect, put_role_policy};
use crate::view::text;

const CONNECTORS: &str = "/2026-04-04/network-connectors";

/// Reads a connector that a policy denies to the role, by its name, its id, and other spellings of its ARN. The control
/// is a connector that the role may read.
pub(super) async fn other_spelling(fixture: &Fixture, values: &Value) -> Result<Attempt> {
    let (denied, open) = (format!("{NAME}-denied"), format!("{NAME}-open"));
    let made = async {
        let made = make(&fixture.tenant, &denied).await?;
        make(&fixture.tenant, &open).await?;
        let arn = text(&made, "Arn").to_owned();
        let policy = json!({"Statement": [
            {"Effect": "Allow", "Action": "lambda:GetNetworkConnector", "Resource": "*"},
            {"Effect": "Deny", "Action": "lambda:*", "Resource": [arn, format!("{arn}:*")]},
        ]});
        put_role_policy(&fixture.tenant, "connectors", &policy.to_string()).await?;
        read_as_role(fixture, values, &made, &open).await
    }
    .await;
    // Whatever happened, they go again.
    for name in [&denied, &open] {
        let path = format!("{CONNECTORS}/{name}");
        ask(&fixture.tenant, Method::DELETE, path, None, Vec::new()).await?;
    }
    made
}

async fn read_as_role(
    fixture: &Fixture,
    values: &Value,
    made: &Value,
    open: &str,
) -> Result<Attempt> {
    let keys = &values["stolen_keys"];
    let role = Client::new(Settings {
        access_key_id: text(keys, "AccessKeyId").to_owned(),
        secret_access_key: text(keys, "SecretAccessKey").to_owned(),
        ..fixture.tenant.settings().clone()
    })?;
    let read = async |identifier: &str| -> Result<bool> {
        let path = format!("{CONNECTORS}/{}", encode(identifier));
        let token = ("x-amz-security-token", text(keys, "Token").to_owned());
        let answer = ask(&role, Method::GET, path, None, vec![token]).await?;
        Ok(answer.status < 300)
    };
    let (arn, id) = (text(made, "Arn"), text(made, "Id"));
    let name = text(made, "Name");
    let mut attack = false;
    for spelled in [
        arn.to_owned(),
        name.to_owned(),
        id.to_owned(),
        id.to_uppercase(),
        arn.replace(id, &id.to_uppercase()),
        format!("{arn}:1"),
    ] {
        attack |= read(&spelled).await?;
    }
    Ok(Attempt {
        attack,
        control: read(open).await?,
    })
}

/// Creates a connector if it does not exist. It is FAILED because its rule sets are unknown, but it can be read.
async fn make(tenant: &Client, name: &str) -> Result<Value> {
    let account = tenant.account().await?;
    let input = json!({
        "Name": name,
        "ClientToken": name,
        "OperatorRole": format!("arn:aws:iam::{account}:role/{NAME}"),
        "Configuration": {"VpcEgressConfiguration": {
            "SubnetIds": ["subnet-0aud17"], "SecurityGroupIds": ["sg-0aud17"],
            "NetworkProtocol": "IPv4", "AssociatedComputeResourceTypes": ["MicroVm"],
        }},
    });
    let path = CONNECTORS.to_owned();
    let body = Some(input.to_string());
    expect(&ask(tenant, Method::POST, path, body, Vec::new()).await?)?;
    let path = format!("{CONNECTORS}/{name}");
    let found = ask(tenant, Method::GET, path, None, Vec::new()).await?;
    expect(&found)?;
    serde_json::from_str(&found.body).context("a connector is not JSON")
}

async fn ask(
    client: &Client,
    method: Method,
    path: String,
    body: Option<String>,
    headers: Vec<(&'static str, String)>,
) -> Result<RawAnswer> {
    // Lives as long as the program: there are a dozen.
    let mut headers: Vec<(_, &'static str)> = headers
        .into_iter()
        .map(|(name, value)| (name, &*value.leak()))
        .collect();
    if body.is_some() {
        headers.push(("content-type", "application/json"));
    }
    let answer = client.raw(RawRequest {
        service: "lambda",
        method,
        path,
        headers,
        body: body.unwrap_or_default().into(),
    });
    Ok(answer.await?)
}
