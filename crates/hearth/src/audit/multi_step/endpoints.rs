//! Attacks on an endpoint: ambiguous requests, and wrong tokens.

use std::time::Duration;

use anyhow::Result;
use hearth_client::LogQuery;
use jiff::{SignedDuration, Timestamp};

use super::super::attempt::Attempt;
use super::super::fixture::{Fixture, NAME};
use super::super::wire::{hear, status};
use crate::names::log_group;

/// Longest time until the application's output is in its log, also in the emulated host.
const LOG_TIME: Duration = Duration::from_secs(20);

/// Path of the hidden requests.
const HIDDEN: &str = "/smuggled";

/// Request smuggling: hides a request in another one, in a dozen ways that servers have parsed differently. The attack
/// succeeds if the application has seen the hidden request, by its log. The control is a request that is not hidden.
pub(super) async fn smuggling(fixture: &Fixture) -> Result<Attempt> {
    let began = Timestamp::now() - SignedDuration::from_secs(1);
    let mark = format!("/seen-{}", began.as_millisecond());
    let (endpoint, token) = (&fixture.open.endpoint, &fixture.open.token);
    let common = format!("Host: {endpoint}\r\nX-aws-proxy-auth: {token}\r\n");
    let mut requests = ambiguous(&common);
    requests.push(format!("GET {mark} HTTP/1.1\r\n{common}\r\n"));
    for request in requests {
        let mut stream = fixture.tenant.open_endpoint(endpoint).await?;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await;
        hear(&mut *stream, Duration::from_secs(2)).await;
    }
    let end = std::time::Instant::now() + LOG_TIME;
    let mut seen = Attempt {
        attack: false,
        control: false,
    };
    // The last request was the open one: what was hidden came before it.
    while !seen.control && std::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let query = LogQuery {
            group: &log_group(NAME),
            stream: None,
            start_ms: Some(began.as_millisecond()),
        };
        let events = fixture.tenant.log_events(&query).await?;
        let has = |text: &str| events.iter().any(|event| event.message.contains(text));
        seen = Attempt {
            attack: has(HIDDEN),
            control: has(&mark),
        };
    }
    Ok(seen)
}

/// Requests that contain another request for [`HIDDEN`].
fn ambiguous(common: &str) -> Vec<String> {
    let hidden = format!("GET {HIDDEN} HTTP/1.1\r\nHost: x\r\n\r\n");
    let length = hidden.len();
    let chunked = format!("0\r\n\r\n{hidden}");
    let post =
        |headers: &str, body: &str| format!("POST / HTTP/1.1\r\n{common}{headers}\r\n{body}");
    let both = chunked.len();
    vec![
        // A length and chunks.
        post(
            &format!("Content-Length: {both}\r\nTransfer-Encoding: chunked\r\n"),
            &chunked,
        ),
        post(
            &format!("Transfer-Encoding: chunked\r\nContent-Length: {both}\r\n"),
            &chunked,
        ),
        // Two lengths.
        post(
            &format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
            &hidden,
        ),
        post(
            &format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
            &hidden,
        ),
        post(&format!("Content-Length: 0, {length}\r\n"), &hidden),
        // Chunks that not everybody sees.
        post(
            &format!("Content-Length: {both}\r\nTransfer-Encoding:\r\n chunked\r\n"),
            &chunked,
        ),
        post(
            &format!("Content-Length: {both}\r\nTransfer-Encoding : chunked\r\n"),
            &chunked,
        ),
        post(
            &format!("Content-Length: {both}\r\nTransfer-Encoding: xchunked\r\n"),
            &chunked,
        ),
        post(
            &format!("Content-Length: {both}\r\nTransfer-Encoding: chunked, identity\r\n"),
            &chunked,
        ),
        // An extension of a chunk with an end of line in it.
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("2;\nxx\r\n{length:x}\r\n0\r\n\r\n{hidden}"),
        ),
        // Chunks with a size that is no number, or overflows one.
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("10000000000000000\r\n\r\n{hidden}"),
        ),
        // What stands behind the last chunk.
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("0\r\nContent-Length: {length}\r\nX-aws-proxy-auth: x\r\n\r\n{hidden}"),
        ),
        // Another protocol, in which what follows would be no request of ours.
        format!(
            "GET / HTTP/1.1\r\n{common}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{hidden}"
        ),
        // An end of line that not everybody sees, in a header.
        format!("GET / HTTP/1.1\r\n{common}X: a\nGET {HIDDEN} HTTP/1.1\r\n\r\n"),
        // Two hosts, another host, two tokens, and names of headers that the endpoint sets itself.
        format!("GET {HIDDEN} HTTP/1.1\r\nHost: other.example\r\n{common}\r\n"),
        format!("GET http://other.example{HIDDEN} HTTP/1.1\r\n{common}\r\n"),
        format!("GET {HIDDEN} HTTP/1.1\r\nX-aws-proxy-auth: x\r\n{common}\r\n"),
    ]
}

/// Opens the shell with a token for a port. Control: with a token for the shell.
pub(super) async fn port_token_at_the_shell(fixture: &Fixture) -> Result<Attempt> {
    let opens = async |token: &str| -> Result<bool> {
        let endpoint = &fixture.open.endpoint;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {endpoint}\r\nX-aws-proxy-auth: {token}\r\nX-aws-proxy-port: 8022\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        let mut stream = fixture.tenant.open_endpoint(endpoint).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await?;
        // A shell says nothing more until it is told something.
        let answer = hear(&mut *stream, Duration::from_secs(5)).await;
        Ok(status(&answer) == Some(101))
    };
    Ok(Attempt {
        attack: opens(&fixture.open.token).await?,
        control: opens(&fixture.open.shell_token).await?,
    })
}
