//! Makes attacks and their controls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_client::{Client, RawRequest, Settings};
use http::Method;
use serde_json::{Value, json};

use super::attempt::Attempt;
use super::endpoint::reach;
use super::fixture::{BUCKET, Fixture, Microvm, OTHER_BUCKET, say};
use super::guest::{Line, execute, script};
use super::multi_step;
use super::table::{Api, Attack, From, Kind, Owner};

/// Longest time for a command of the attacker's neighbour, also in the emulated host.
const NEIGHBOUR_LIMIT: Duration = Duration::from_secs(60);

/// The outcome of an attack.
pub(super) struct Finding<'a> {
    pub(super) attack: &'a Attack,
    pub(super) result: Result<Attempt, String>,
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

/// Makes all attacks, in their order. Consecutive attacks from one guest are made by one process in it.
pub(super) async fn make_all<'a>(
    fixture: &Fixture,
    attacks: &'a [Attack],
) -> Result<Vec<Finding<'a>>> {
    let values = values(fixture).await?;
    let mut findings = Vec::new();
    for group in attacks.chunk_by(|one, next| one.from == next.from) {
        let from = group.first().map_or(From::Client, |attack| attack.from);
        say(&format!("{} attacks from a {}", group.len(), from.text()));
        match from {
            From::Open => findings.extend(in_guest(fixture, &fixture.open, group, &values).await?),
            From::Closed => {
                findings.extend(in_guest(fixture, &fixture.closed, group, &values).await?);
            }
            From::Neighbour
            | From::Client
            | From::Stranger
            | From::Endpoint
            | From::Copy
            | From::Dockerfile => {
                for attack in group {
                    let result = from_outside(fixture, attack, &values).await;
                    let result = result.map_err(|error| format!("{error:#}"));
                    findings.push(Finding { attack, result });
                }
            }
        }
    }
    Ok(findings)
}

/// The values that the script in guests gets, including secrets taken from the closed microVM.
async fn values(fixture: &Fixture) -> Result<Value> {
    let key = |client: &Client| {
        let settings = client.settings();
        json!([settings.access_key_id, settings.secret_access_key, null])
    };
    let url: http::Uri = fixture.tenant.settings().endpoint_url.parse()?;
    let mut values = json!({
        "region": fixture.tenant.settings().region,
        "bucket": BUCKET,
        "other_bucket": OTHER_BUCKET,
        "api_port": url.port_u16().unwrap_or(443),
        "log_group": crate::names::log_group("hearth-audit"),
        "own_key": key(&fixture.tenant),
        "other_key": key(&fixture.other),
    });
    let taken = json!([
        {"name": "stolen_token", "value": "new_token()"},
        {"name": "stolen_keys", "value": "role_keys()"},
    ]);
    let said = script(&fixture.tenant, &fixture.closed, &values, &taken).await?;
    for line in said {
        let value = line.value.with_context(|| line.error.unwrap_or_default())?;
        values[line.name] = value;
    }
    Ok(values)
}

async fn in_guest<'a>(
    fixture: &Fixture,
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
    let lines = script(&fixture.tenant, microvm, values, &json!(entries)).await?;
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
    if let Err(error) = answers(fixture).await {
        for finding in &mut findings {
            finding.result = Err(format!("its neighbour suffered: {error:#}"));
        }
    }
    Ok(findings)
}

async fn answers(fixture: &Fixture) -> Result<()> {
    let begun = Instant::now();
    execute(&fixture.tenant, &fixture.closed, &["true"]).await?;
    if begun.elapsed() > NEIGHBOUR_LIMIT {
        bail!("a command took it {:?}", begun.elapsed());
    }
    Ok(())
}

async fn from_outside(fixture: &Fixture, attack: &Attack, values: &Value) -> Result<Attempt> {
    match attack.kind().context("the table says too little")? {
        Kind::Client { api, owner } => {
            let owner = match owner {
                Owner::Tenant => &fixture.tenant,
                Owner::Operator => &fixture.operator,
            };
            Ok(Attempt {
                attack: ask(fixture, &fixture.other, api).await?,
                control: ask(fixture, owner, api).await?,
            })
        }
        Kind::Endpoint { token, port } => Ok(Attempt {
            attack: reach_open(fixture, &filled(fixture, token), port).await?,
            control: reach_open(fixture, &fixture.open.token, None).await?,
        }),
        Kind::Code { by, .. } => multi_step::make(fixture, values, by).await,
        Kind::Guest { .. } => bail!("this is made in a guest"),
    }
}

async fn ask(fixture: &Fixture, client: &Client, api: &Api) -> Result<bool> {
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
        path: filled(fixture, &api.path),
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

async fn reach_open(fixture: &Fixture, token: &str, port: Option<u16>) -> Result<bool> {
    reach(&fixture.tenant, &fixture.open.endpoint, token, port).await
}

/// Replaces the placeholders in braces of a text of the table.
fn filled(fixture: &Fixture, text: &str) -> String {
    let Settings { access_key_id, .. } = fixture.tenant.settings();
    let mut altered = fixture.open.token.clone();
    let last = if altered.pop() == Some('A') { 'B' } else { 'A' };
    altered.push(last);
    let account = fixture.image.split(':').nth(4).unwrap_or_default();
    let values = [
        ("{microvm}", fixture.open.id.as_str()),
        ("{spare}", &fixture.closed.id),
        ("{image}", &fixture.image),
        ("{bucket}", BUCKET),
        ("{account}", account),
        ("{key}", access_key_id),
        ("{token}", &fixture.open.token),
        ("{other_token}", &fixture.closed.token),
        ("{altered_token}", &altered),
        ("{shell_token}", &fixture.open.shell_token),
    ];
    values
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
}
