//! The fixture of an audit: two accounts that do not trust each other, and their resources.
//!
//! ```text
//! tenant  999999999998   image, role and objects; two microVMs: one may go to the internet, one nowhere
//! other   999999999997   a key, and a bucket
//! ```
//!
//! The accounts stay, since accounts cannot be removed; their keys and everything else are removed. After an audit that
//! was killed, its microVMs live for an hour at most, and the next audit uses and removes the rest.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_client::{Client, RawAnswer, RawRequest, Settings};
use http::Method;
use serde_json::json;

use crate::cli::image::BuildArguments;
use crate::image;
use crate::microvm::wait::{Patience, Wish, wait};
use crate::view::text;

const TENANT: &str = "999999999998";
const OTHER: &str = "999999999997";
pub(super) const NAME: &str = "hearth-audit";
pub(super) const BUCKET: &str = "hearth-audit";
pub(super) const OTHER_BUCKET: &str = "hearth-audit-other";

/// The microVMs run two small web servers: Python's own, and one that keeps connections open and trusts every declared
/// length, like applications that are vulnerable to request smuggling.
const DOCKERFILE: &str = r#"FROM hearth/python:3.11
COPY server.py /server.py
CMD ["sh", "-c", "python3 -m http.server 8081 & exec python3 /server.py"]
"#;

const SERVER: &str = include_str!("server.py");

const TRUST: &str = r#"{"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}}"#;

const POLICY: &str = r#"{"Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::hearth-audit/mine/*"},
    {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::hearth-audit/mine/denied"},
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::hearth-audit",
        "Condition": {"StringEquals": {"s3:prefix": ["mine/", "closed+b"]}}},
    {"Effect": "Allow", "Action": "logs:*", "Resource": "arn:aws:logs:*:*:log-group:/hearth-audit/*"}]}"#;

/// The accounts and resources that attacks use.
pub(super) struct Fixture {
    pub(super) operator: Client,
    pub(super) tenant: Client,
    pub(super) other: Client,
    pub(super) image: String,
    pub(super) open: Microvm,
    pub(super) closed: Microvm,
}

/// A microVM of the tenant.
pub(super) struct Microvm {
    pub(super) id: String,
    pub(super) endpoint: String,
    /// Token for port 8080 of its endpoint.
    pub(super) token: String,
    /// Token for its shell.
    pub(super) shell_token: String,
}

/// The fixture, or the error because of which it could not be made completely. Leftovers are removed by the next audit.
pub(super) struct Setup {
    pub(super) outcome: Result<Fixture>,
}

impl Setup {
    pub(super) async fn set_up(operator: &Client) -> Self {
        let outcome = set_up(operator).await;
        Self { outcome }
    }

    /// Removes everything that still exists. Answers an earlier error, if there was one.
    pub(super) async fn take_down(self, operator: &Client) -> Result<()> {
        let fixture = self.outcome?;
        for microvm in [&fixture.open, &fixture.closed] {
            // It may have ended in an attack.
            let _ = fixture.tenant.terminate(&microvm.id).await;
            let patience = Patience::seconds(Patience::DEFAULT_SECONDS);
            wait(&fixture.tenant, &microvm.id, Wish::Terminated, patience).await?;
        }
        fixture.tenant.delete_image(&fixture.image).await?;
        for client in [&fixture.tenant, &fixture.other] {
            operator
                .delete_key(&client.settings().access_key_id)
                .await?;
        }
        Ok(())
    }
}

async fn set_up(operator: &Client) -> Result<Fixture> {
    say("making two accounts, an image, a role and two microVMs");
    let tenant = account(operator, TENANT).await?;
    let other = account(operator, OTHER).await?;
    tenant.ensure_bucket(BUCKET).await?;
    for key in ["mine/a", "mine/denied", "closed/b", "closed b/c"] {
        let content = Bytes::from_static(b"an object of the audit").into();
        tenant.put_object(BUCKET, key, content).await?;
    }
    other.ensure_bucket(OTHER_BUCKET).await?;
    let content = Bytes::from_static(b"another account's object").into();
    other.put_object(OTHER_BUCKET, "a", content).await?;
    make_role(&tenant).await?;
    let group = json!({"logGroupName": "/hearth-audit/mine"}).to_string();
    expect(&send_logs(&tenant, "Logs_20140328.CreateLogGroup", group).await?)?;
    let image = make_image(&tenant).await?;
    Ok(Fixture {
        operator: operator.clone(),
        open: run(&tenant, &image, "INTERNET_EGRESS").await?,
        closed: run(&tenant, &image, "NO_EGRESS").await?,
        tenant,
        other,
        image,
    })
}

/// A client with a new key of this account. The account is created if it does not exist.
async fn account(operator: &Client, account: &str) -> Result<Client> {
    match operator.create_account(Some(account), None).await {
        Err(error) if error.refusal().is_none_or(|refusal| refusal.status != 409) => {
            return Err(error).context("accounts are made with a key of the first account");
        }
        _ => {}
    }
    // Of an audit that was killed.
    for key in operator.keys(account).await?["accessKeys"]
        .as_array()
        .into_iter()
        .flatten()
    {
        operator.delete_key(text(key, "accessKeyId")).await?;
    }
    let key = operator.create_key(account).await?;
    Ok(Client::new(Settings {
        access_key_id: text(&key, "accessKeyId").to_owned(),
        secret_access_key: text(&key, "secretAccessKey").to_owned(),
        ..operator.settings().clone()
    })?)
}

async fn make_role(tenant: &Client) -> Result<()> {
    let create = form(&[
        ("Action", "CreateRole"),
        ("AssumeRolePolicyDocument", TRUST),
    ]);
    expect(&send(tenant, "iam", create).await?)?;
    put_role_policy(tenant, "audit", POLICY).await
}

/// Adds an inline policy to the role.
pub(super) async fn put_role_policy(tenant: &Client, name: &str, policy: &str) -> Result<()> {
    let put = form(&[
        ("Action", "PutRolePolicy"),
        ("PolicyName", name),
        ("PolicyDocument", policy),
    ]);
    expect(&send(tenant, "iam", put).await?)
}

/// The form of a request to IAM about the role.
fn form(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters
        .iter()
        .chain(&[("Version", "2010-05-08"), ("RoleName", NAME)]);
    let pairs = pairs.map(|(name, value)| format!("{name}={}", hearth_client::encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

async fn send(client: &Client, service: &'static str, body: String) -> Result<RawAnswer> {
    let answer = client.raw(RawRequest {
        service,
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![("content-type", "application/x-www-form-urlencoded")],
        body: body.into(),
    });
    Ok(answer.await?)
}

async fn send_logs(client: &Client, target: &'static str, body: String) -> Result<RawAnswer> {
    let answer = client.raw(RawRequest {
        service: "logs",
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![
            ("x-amz-target", target),
            ("content-type", "application/x-amz-json-1.1"),
        ],
        body: body.into(),
    });
    Ok(answer.await?)
}

/// Checks that the answer is a success, or says that the resource exists already.
pub(super) fn expect(answer: &RawAnswer) -> Result<()> {
    let is_there = answer.body.contains("AlreadyExists");
    if answer.status >= 300 && !is_there {
        bail!("{} ({})", answer.body, answer.status);
    }
    Ok(())
}

async fn make_image(tenant: &Client) -> Result<String> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("Dockerfile"), DOCKERFILE)?;
    std::fs::write(folder.path().join("server.py"), SERVER)?;
    let version = image::build(tenant, &arguments(folder.path(), NAME)).await?;
    Ok(text(&version, "imageArn").to_owned())
}

/// The build arguments of an audit's image.
pub(super) fn arguments(folder: &Path, name: &str) -> BuildArguments {
    BuildArguments {
        folder: folder.to_owned(),
        name: Some(name.to_owned()),
        memory: Some(512),
        port: None,
        hooks: Vec::new(),
        env: Vec::new(),
        description: None,
        base: "al2023-1".to_owned(),
        role: None,
        all_capabilities: true,
        egress: Vec::new(),
        bucket: format!("{NAME}-builds"),
        no_wait: false,
    }
}

async fn run(tenant: &Client, image: &str, egress: &str) -> Result<Microvm> {
    let region = &tenant.settings().region;
    let connector = |name: &str| {
        format!("arn:aws:lambda:{region}:aws:network-connector:aws-network-connector:{name}")
    };
    let input = json!({
        "imageIdentifier": image,
        "executionRoleArn": format!("arn:aws:iam::{TENANT}:role/{NAME}"),
        "egressNetworkConnectors": [connector(egress)],
        "ingressNetworkConnectors": [connector("HTTP_INGRESS"), connector("SHELL_INGRESS")],
        "maximumDurationInSeconds": 3600,
    });
    let microvm = tenant.run_microvm(&input).await?;
    let id = text(&microvm, "microvmId").to_owned();
    let patience = Patience::seconds(Patience::DEFAULT_SECONDS);
    wait(tenant, &id, Wish::Launched, patience).await?;
    let token = tenant.auth_token(&id, Some(8080), 60).await?;
    let shell = tenant.shell_token(&id, 60).await?;
    Ok(Microvm {
        endpoint: text(&microvm, "endpoint").to_owned(),
        token: text(&token["authToken"], "X-aws-proxy-auth").to_owned(),
        shell_token: text(&shell["authToken"], "X-aws-proxy-auth").to_owned(),
        id,
    })
}

/// Prints progress for people.
pub(super) fn say(what: &str) {
    eprintln!("audit: {what}");
}
