//! Making attacks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_client::{Client, EndpointRequest, ExecEvent, ExecRequest, RawRequest, Settings};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::microvm::copy;

use super::stage::{BUCKET, Microvm, OTHER_BUCKET, Scene, say};
use super::table::{Api, Attack, From, Kind, Owner};

const SCRIPT: &str = include_str!("attacks.py");

/// How long all attacks of one guest may take, in the emulated host too.
const GUEST_LIMIT_S: u32 = 1800;

/// How long the neighbour of an attacker may take for a command, in the emulated host too.
const NEIGHBOUR_LIMIT: Duration = Duration::from_secs(60);

/// What may come of a folder with a file and two links.
const MAX_FOLDER_BYTES: u64 = 1 << 20;

/// What became of an attack.
pub(super) struct Finding<'a> {
    pub(super) attack: &'a Attack,
    pub(super) result: Result<Attempt, String>,
}

/// Whether each attempt got what it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) attack: bool,
    pub(super) control: bool,
}

impl Finding<'_> {
    pub(super) fn is_held(&self) -> bool {
        let held = Attempt {
            attack: false,
            control: true,
        };
        self.result == Ok(held)
    }
}

/// Makes all attacks, in their order. Attacks that a guest makes one after the other are one process in it.
pub(super) async fn make_all<'a>(scene: &Scene, attacks: &'a [Attack]) -> Result<Vec<Finding<'a>>> {
    let values = values(scene).await?;
    let mut findings = Vec::new();
    for group in attacks.chunk_by(|one, next| one.from == next.from) {
        let from = group.first().map_or(From::Client, |attack| attack.from);
        say(&format!("{} attacks from a {}", group.len(), from.text()));
        match from {
            From::Open => findings.extend(in_guest(scene, &scene.open, group, &values).await?),
            From::Closed => findings.extend(in_guest(scene, &scene.closed, group, &values).await?),
            From::Client | From::Endpoint | From::Copy => {
                for attack in group {
                    let result = from_outside(scene, attack).await;
                    let result = result.map_err(|error| format!("{error:#}"));
                    findings.push(Finding { attack, result });
                }
            }
        }
    }
    Ok(findings)
}

/// What the script is told, with what was taken from the closed microVM.
async fn values(scene: &Scene) -> Result<Value> {
    let key = |client: &Client| {
        let settings = client.settings();
        json!([settings.access_key_id, settings.secret_access_key, null])
    };
    let url: http::Uri = scene.tenant.settings().endpoint_url.parse()?;
    let mut values = json!({
        "region": scene.tenant.settings().region,
        "bucket": BUCKET,
        "other_bucket": OTHER_BUCKET,
        "api_port": url.port_u16().unwrap_or(443),
        "log_group": crate::names::log_group("hearth-audit"),
        "own_key": key(&scene.tenant),
        "other_key": key(&scene.other),
    });
    let taken = json!([
        {"name": "stolen_token", "value": "new_token()"},
        {"name": "stolen_keys", "value": "role_keys()"},
    ]);
    let said = script(&scene.tenant, &scene.closed, &values, &taken).await?;
    for line in said {
        let value = line.value.with_context(|| line.error.unwrap_or_default())?;
        values[line.name] = value;
    }
    Ok(values)
}

/// A line of the script.
#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    attack: Option<bool>,
    control: Option<bool>,
    value: Option<Value>,
    error: Option<String>,
}

async fn in_guest<'a>(
    scene: &Scene,
    microvm: &Microvm,
    attacks: &'a [Attack],
    values: &Value,
) -> Result<Vec<Finding<'a>>> {
    let entries: Vec<_> = attacks
        .iter()
        .filter_map(|attack| match attack.kind()? {
            Kind::Guest {
                attack: tried,
                control,
            } => Some(json!({"name": attack.name, "attack": tried, "control": control})),
            _ => None,
        })
        .collect();
    let lines = script(&scene.tenant, microvm, values, &json!(entries)).await?;
    let mut lines: BTreeMap<_, _> = lines
        .into_iter()
        .map(|line| (line.name.clone(), line))
        .collect();
    let find = |attack: &'a Attack| {
        let result = match lines.remove(&attack.name) {
            Some(Line {
                attack: Some(attack),
                control: Some(control),
                ..
            }) => Ok(Attempt { attack, control }),
            Some(line) => Err(line.error.unwrap_or_default()),
            None => Err("the guest ended before it was made".to_owned()),
        };
        Finding { attack, result }
    };
    let mut findings: Vec<_> = attacks.iter().map(find).collect();
    // Whatever its neighbour did, a microVM answers.
    if let Err(error) = answers(scene).await {
        for finding in &mut findings {
            finding.result = Err(format!("its neighbour suffered: {error:#}"));
        }
    }
    Ok(findings)
}

async fn answers(scene: &Scene) -> Result<()> {
    let begun = Instant::now();
    execute(&scene.tenant, &scene.closed, &["true"]).await?;
    if begun.elapsed() > NEIGHBOUR_LIMIT {
        bail!("a command took it {:?}", begun.elapsed());
    }
    Ok(())
}

/// Runs a command in a microVM.
async fn execute(tenant: &Client, microvm: &Microvm, command: &[&str]) -> Result<()> {
    let request = ExecRequest {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        timeout_s: 300,
        ..ExecRequest::default()
    };
    let mut process = tenant.exec(&microvm.id, &request).await?;
    loop {
        match process.next().await? {
            ExecEvent::Exited(0) => return Ok(()),
            ExecEvent::Exited(status) => bail!("{} ended with {status}", command.join(" ")),
            _ => {}
        }
    }
}

/// Copies a folder out and in again in which links lead to a file of this host and to the folder that it is in. The attack is to have
/// that file then, the control is a file of the guest's own.
async fn copy_out_and_in(scene: &Scene) -> Result<Attempt> {
    const PREPARE: &str = r#"rm -rf /tmp/out /tmp/back && mkdir /tmp/out && ln -s "$0" /tmp/out/link &&
        ln -s "$1" /tmp/out/folder && printf mine > /tmp/out/own"#;
    const SECRET: &[u8] = b"of the host";
    let host = tempfile::tempdir()?;
    let secret = host.path().join("secret");
    std::fs::write(&secret, SECRET)?;
    let (tenant, microvm) = (&scene.tenant, &scene.open);
    let links = [&*secret, host.path()].map(|path| path.to_string_lossy());
    let prepare = ["sh", "-c", PREPARE, &links[0], &links[1]];
    execute(tenant, microvm, &prepare).await?;
    let copy = host.path().join("copy");
    copy::download_folder(tenant, &microvm.id, "/tmp/out", &copy, MAX_FOLDER_BYTES).await?;
    copy::upload_folder(tenant, &microvm.id, &copy, "/tmp/back").await?;
    let has = async |path: &str, wanted: &[u8]| {
        // What is not there is no file.
        let Ok(mut content) = tenant.get_file(&microvm.id, path).await else {
            return false;
        };
        let mut bytes = Vec::new();
        while let Ok(Some(more)) = content.next().await {
            bytes.extend_from_slice(&more);
        }
        bytes == wanted
    };
    Ok(Attempt {
        attack: has("/tmp/back/link", SECRET).await || has("/tmp/back/folder/secret", SECRET).await,
        control: has("/tmp/back/own", b"mine").await,
    })
}

/// Runs the script in a microVM.
async fn script(
    tenant: &Client,
    microvm: &Microvm,
    values: &Value,
    attacks: &Value,
) -> Result<Vec<Line>> {
    let request = ExecRequest {
        command: ["python3", "-c", SCRIPT].map(str::to_owned).to_vec(),
        timeout_s: GUEST_LIMIT_S,
        ..ExecRequest::default()
    };
    let (mut process, input) = tenant.converse(&microvm.id, &request).await?;
    let told = json!({"values": values, "attacks": attacks}).to_string();
    input.stdin(told.as_bytes()).await;
    input.end().await;
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    loop {
        match process.next().await {
            Ok(ExecEvent::Stdout(bytes)) => said.extend(bytes),
            Ok(ExecEvent::Stderr(bytes)) => complaint.extend(bytes),
            Ok(ExecEvent::Exited(0)) => break,
            // What it did before counts.
            Ok(ExecEvent::Exited(_)) | Err(_) if !said.is_empty() => break,
            Ok(ExecEvent::Exited(status)) => {
                bail!(
                    "the script ended with {status}: {}",
                    String::from_utf8_lossy(&complaint)
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    let lines = said.split(|byte| *byte == b'\n');
    // A line that was cut off by the end of its guest is none.
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

async fn from_outside(scene: &Scene, attack: &Attack) -> Result<Attempt> {
    match attack.kind().context("the table says too little")? {
        Kind::Client { api, owner } => {
            let owner = match owner {
                Owner::Tenant => &scene.tenant,
                Owner::Operator => &scene.operator,
            };
            Ok(Attempt {
                attack: ask(scene, &scene.other, api).await?,
                control: ask(scene, owner, api).await?,
            })
        }
        Kind::Endpoint { token, port } => Ok(Attempt {
            attack: reach(scene, &filled(scene, token), port).await?,
            control: reach(scene, &scene.open.token, None).await?,
        }),
        Kind::Copy => copy_out_and_in(scene).await,
        Kind::Guest { .. } => bail!("this is made in a guest"),
    }
}

async fn ask(scene: &Scene, client: &Client, api: &Api) -> Result<bool> {
    let mut headers = Vec::new();
    if let Some(target) = &api.target {
        // Lives as long as the program: there are as many as lines in the table.
        headers.push(("x-amz-target", &*target.clone().leak()));
    }
    if !api.body.is_empty() {
        headers.push(("content-type", content_type(&api.service)));
    }
    let answer = client.raw(RawRequest {
        service: api.service.clone().leak(),
        method: Method::from_bytes(api.method.as_bytes())?,
        path: filled(scene, &api.path),
        headers,
        body: api.body.clone().into(),
    });
    Ok(answer.await?.status < 300)
}

fn content_type(service: &str) -> &'static str {
    match service {
        "iam" => "application/x-www-form-urlencoded",
        "logs" => "application/x-amz-json-1.1",
        _ => "application/json",
    }
}

async fn reach(scene: &Scene, token: &str, port: Option<u16>) -> Result<bool> {
    let request = EndpointRequest {
        method: Method::GET,
        path: "/".to_owned(),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        port,
    };
    let answer = scene
        .tenant
        .request(&scene.open.endpoint, token, request)
        .await?;
    Ok(answer.status().as_u16() < 300)
}

/// A text of the table with its braces filled in.
fn filled(scene: &Scene, text: &str) -> String {
    let Settings { access_key_id, .. } = scene.tenant.settings();
    let mut altered = scene.open.token.clone();
    let last = if altered.pop() == Some('A') { 'B' } else { 'A' };
    altered.push(last);
    let account = scene.image.split(':').nth(4).unwrap_or_default();
    let values = [
        ("{microvm}", scene.open.id.as_str()),
        ("{spare}", &scene.closed.id),
        ("{image}", &scene.image),
        ("{bucket}", BUCKET),
        ("{account}", account),
        ("{key}", access_key_id),
        ("{token}", &scene.open.token),
        ("{other_token}", &scene.closed.token),
        ("{altered_token}", &altered),
    ];
    values
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
}
