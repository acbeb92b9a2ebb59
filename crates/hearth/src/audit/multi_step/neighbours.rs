//! Attacks of one account on the availability of the service for another account.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hearth_client::{Client, Head, RawAnswer, RawRequest, payload_hash};
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::attempt::Attempt;
use super::super::fixture::{BUCKET, Fixture, expect};
use super::super::wire::{hear, is_good, pour};

/// Longest time for a call of the neighbour during an attack, also in the emulated host, where a call takes half a
/// second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Number of unauthenticated connections that each hold a request body: enough to use the whole memory for bodies, if
/// each may have the largest size.
const HOLDERS: usize = 50;
const HELD_BYTES: usize = 5 << 20;

/// How long the bodies are held.
const HELD: Duration = Duration::from_secs(10);

/// Holds request bodies that have a key's id and no valid signature. The attack succeeds if a call of that key's
/// account is delayed by them. The control is a slow body that is signed.
pub(super) async fn held_bodies(fixture: &Fixture) -> Result<Attempt> {
    let client = &fixture.tenant;
    let mut holders = JoinSet::new();
    for _ in 0..HOLDERS {
        let (client, head) = (client.clone(), unproven(client)?);
        holders.spawn(async move {
            let piece = [b' '; 64 << 10];
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(&piece);
            chunk.extend_from_slice(b"\r\n");
            if let Ok(stream) = client.open().await {
                let held = async {
                    pour(stream, &head, &chunk, HELD_BYTES).await;
                };
                let _ = timeout(HELD, held).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waits = !is_quick(client.auth_token(&fixture.open.id, Some(8080), 5)).await;
    holders.shutdown().await;
    Ok(Attempt {
        attack: waits,
        control: slow_body(client, &fixture.open.id).await?,
    })
}

/// The head of a request with a key's id and an invalid signature.
fn unproven(client: &Client) -> Result<String> {
    let path = "/2025-09-09/microvms".to_owned();
    let head = Head::new("lambda", Method::POST, path).with("transfer-encoding", "chunked");
    let head = client.signed_head(&head, &payload_hash(b"{}"), Timestamp::now())?;
    let Some((before, signature)) = head.split_once("Signature=") else {
        bail!("a signed head has no signature");
    };
    let after = signature.get(64..).unwrap_or_default();
    Ok(format!("{before}Signature={}{after}\r\n", "0".repeat(64)))
}

/// Whether a request whose body arrives in two pieces is served.
async fn slow_body(client: &Client, microvm: &str) -> Result<bool> {
    let body = r#"{"expirationInMinutes": 5, "allowedPorts": [{"port": 8080}]}"#;
    let path = format!("/2025-09-09/microvms/{microvm}/auth-token");
    let head = Head::new("lambda", Method::POST, path)
        .with("content-type", "application/json")
        .with("content-length", body.len().to_string());
    let head = client.signed_head(&head, &payload_hash(body.as_bytes()), Timestamp::now())?;
    let (first, second) = body.split_at(10);
    let mut stream = client.open().await?;
    let head = format!("{head}connection: close\r\n\r\n{first}");
    stream.write_all(head.as_bytes()).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stream.write_all(second.as_bytes()).await?;
    Ok(is_good(&hear(&mut *stream, Duration::from_secs(20)).await))
}

/// Events of one call: the maximum.
const EVENTS: usize = 10_000;
const CALLS: usize = 8;

const FLOOD: &str = "/hearth-audit/flood";

/// Fills a log group, searches it without a match from many connections, and deletes it. The attack succeeds if calls
/// of another account are delayed meanwhile. The control is that the group was filled and is searched.
pub(super) async fn logs(fixture: &Fixture) -> Result<Attempt> {
    let other = &fixture.other;
    let named = json!({"logGroupName": FLOOD, "logStreamName": "flood"});
    expect(&ask(other, "CreateLogGroup", &json!({"logGroupName": FLOOD})).await?)?;
    expect(&ask(other, "CreateLogStream", &named).await?)?;
    for _ in 0..CALLS {
        let now = Timestamp::now().as_millisecond();
        let events = vec![json!({"timestamp": now, "message": "x"}); EVENTS];
        let mut input = named.clone();
        input["logEvents"] = json!(events);
        write(other, &input).await?;
    }
    let filter = json!({"logGroupName": FLOOD, "limit": 1});
    let found = ask(other, "FilterLogEvents", &filter).await?;
    let mut busy = JoinSet::new();
    for _ in 0..16 {
        let other = other.clone();
        busy.spawn(async move {
            let vain =
                json!({"logGroupName": FLOOD, "logStreamNamePrefix": "zzz", "filterPattern": "y"});
            loop {
                // Refused as too many is one way to be stopped.
                let _ = ask(&other, "FilterLogEvents", &vain).await;
            }
        });
    }
    let mut attack = false;
    for call in 0..6 {
        if call == 3 {
            let other = other.clone();
            busy.spawn(async move {
                let _ = ask(&other, "DeleteLogGroup", &json!({"logGroupName": FLOOD})).await;
            });
        }
        attack |= !is_quick(ask(&fixture.tenant, "DescribeLogGroups", &json!({}))).await;
        attack |= !is_quick(fixture.tenant.get_object(BUCKET, "mine/a", 1 << 20)).await;
    }
    busy.shutdown().await;
    // If that was cut off before.
    let _ = ask(other, "DeleteLogGroup", &json!({"logGroupName": FLOOD})).await;
    Ok(Attempt {
        attack,
        control: found.status == 200 && found.body.contains("eventId"),
    })
}

/// Longest time until an account that wrote as fast as it may can write again.
const PAID_WITHIN: Duration = Duration::from_secs(60);

/// Writes events, and again where the account is told that it was too fast: the group has to be full for what follows.
async fn write(client: &Client, events: &serde_json::Value) -> Result<()> {
    let began = Instant::now();
    loop {
        let answer = ask(client, "PutLogEvents", events).await?;
        let refused = answer.status == 400 && answer.body.contains("ThrottlingException");
        if !refused || began.elapsed() > PAID_WITHIN {
            return expect(&answer);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn ask(
    client: &Client,
    operation: &str,
    input: &serde_json::Value,
) -> Result<RawAnswer, hearth_client::ClientError> {
    let target = match operation {
        "CreateLogGroup" => "Logs_20140328.CreateLogGroup",
        "CreateLogStream" => "Logs_20140328.CreateLogStream",
        "PutLogEvents" => "Logs_20140328.PutLogEvents",
        "DeleteLogGroup" => "Logs_20140328.DeleteLogGroup",
        "DescribeLogGroups" => "Logs_20140328.DescribeLogGroups",
        _ => "Logs_20140328.FilterLogEvents",
    };
    let request = RawRequest {
        service: "logs",
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![
            ("x-amz-target", target),
            ("content-type", "application/x-amz-json-1.1"),
        ],
        body: input.to_string().into(),
    };
    client.raw(request).await
}

/// Whether a call succeeds in time.
async fn is_quick<T>(call: impl Future<Output = Result<T, hearth_client::ClientError>>) -> bool {
    let began = Instant::now();
    let answered = timeout(PATIENCE, call).await;
    matches!(answered, Ok(Ok(_))) && began.elapsed() <= PATIENCE
}
