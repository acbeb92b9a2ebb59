//! `hearth curl`: a request through the endpoint of a microVM.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bytes::Bytes;
use hearth_client::{Client, EndpointRequest};
use http::response::Parts;
use http::{HeaderName, HeaderValue, Method, Version};
use http_body_util::{BodyExt, Collected, Limited};

use super::token::of_answer;
use crate::cli::microvm::CurlArguments;
use crate::refused::EndpointRefused;
use crate::shared::Shared;
use crate::view::{harmless, text};
use crate::{names, output};

/// The token is used at once.
const TOKEN_MINUTES: u32 = 1;

/// The exit status of curl --fail.
const HTTP_ERROR: u8 = 22;

/// The header of answers that the endpoint itself gives: a word for the reason.
const REASON: &str = "x-hearth-reason";

/// Most bytes of the endpoint's words that are read.
const MAX_REASON_BYTES: usize = 4096;

/// What curl says of a body when nothing else is said.
const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) async fn curl(
    _shared: &Shared,
    client: &Client,
    arguments: CurlArguments,
) -> Result<ExitCode> {
    let id = names::microvm(client, &arguments.one.microvm).await?;
    let request = request(&arguments)?;
    let microvm = client.microvm(&id).await?;
    let token = client
        .auth_token(&id, arguments.port, TOKEN_MINUTES)
        .await?;
    let answer = client
        .request(text(&microvm, "endpoint"), of_answer(&token)?, request)
        .await?;
    let (head, mut body) = answer.into_parts();
    if let Some(reason) = head.headers.get(REASON) {
        let reason = String::from_utf8_lossy(reason.as_bytes()).into_owned();
        if arguments.include {
            output::bytes(describe(&head).as_bytes())?;
        }
        // Without words the status alone is the reason.
        let words = Limited::new(body, MAX_REASON_BYTES).collect().await;
        let words = words.map(Collected::to_bytes).unwrap_or_default();
        return Err(EndpointRefused {
            status: head.status,
            reason,
            words: harmless(String::from_utf8_lossy(&words).trim()),
        }
        .into());
    }
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    if arguments.fail && is_error {
        eprintln!("error: the answer is {}", head.status);
        return Ok(ExitCode::from(HTTP_ERROR));
    }
    let mut target = match &arguments.output {
        Some(file) => Target::File(
            File::create(file).with_context(|| format!("cannot write {}", file.display()))?,
        ),
        None => Target::Standard,
    };
    if arguments.include {
        target.write(describe(&head).as_bytes())?;
    }
    let mut last = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the answer was cut off")?;
        if let Some(data) = frame.data_ref() {
            target.write(data)?;
            last = data.last().copied().or(last);
        }
    }
    if target.is_terminal() && lacks_newline(last) {
        target.write(b"\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the prompt of a shell would stand behind a body that ends with this byte.
fn lacks_newline(last: Option<u8>) -> bool {
    last.is_some_and(|last| last != b'\n')
}

/// Where the answer goes.
enum Target {
    Standard,
    File(File),
}

impl Target {
    fn is_terminal(&self) -> bool {
        matches!(self, Self::Standard) && std::io::stdout().is_terminal()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Standard => output::bytes(bytes),
            Self::File(file) => file.write_all(bytes).context("cannot write the answer"),
        }
    }
}

/// Status and headers, as they came.
fn describe(head: &Parts) -> String {
    let version = match head.version {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut text = format!("HTTP/{version} {}\n", head.status);
    for (name, value) in &head.headers {
        text.push_str(&format!(
            "{name}: {}\n",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    text.push('\n');
    text
}

fn request(arguments: &CurlArguments) -> Result<EndpointRequest> {
    let body = match arguments.body.as_deref() {
        None => Bytes::new(),
        Some("@-") => {
            let mut content = Vec::new();
            std::io::stdin().lock().read_to_end(&mut content)?;
            content.into()
        }
        Some(data) => match data.strip_prefix('@') {
            Some(file) => std::fs::read(file)
                .with_context(|| format!("cannot read {file}"))?
                .into(),
            None => data.to_owned().into(),
        },
    };
    let has_body = arguments.body.is_some();
    let default = if has_body { Method::POST } else { Method::GET };
    let mut headers: Vec<_> = arguments
        .headers
        .iter()
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect();
    let content_type = HeaderName::from_static("content-type");
    if has_body && !headers.iter().any(|(name, _)| *name == content_type) {
        headers.push((content_type, HeaderValue::from_static(FORM)));
    }
    let path = &arguments.path;
    Ok(EndpointRequest {
        method: arguments.method.clone().unwrap_or(default),
        path: if path.starts_with('/') {
            path.clone()
        } else {
            format!("/{path}")
        },
        headers,
        body,
        port: arguments.port,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, ClientCommand, Command};

    fn made(words: &[&str]) -> EndpointRequest {
        let all = ["hearth", "curl", "x"].iter().chain(words);
        match Cli::parse_from(all).command {
            Command::Client(ClientCommand::Curl(arguments)) => request(&arguments).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_prompt_never_stands_behind_the_body() {
        assert!(lacks_newline(Some(b'}')));
        assert!(!lacks_newline(Some(b'\n')));
        assert!(!lacks_newline(None));
    }

    #[test]
    fn options_mean_what_they_mean_to_curl() {
        let plain = made(&[]);
        assert_eq!((plain.method, plain.path.as_str()), (Method::GET, "/"));
        let posted = made(&["execute?x=1", "-d", "{}"]);
        assert_eq!(
            (posted.method, posted.path.as_str()),
            (Method::POST, "/execute?x=1")
        );
        assert_eq!(posted.body, "{}");
        assert_eq!(posted.headers[0].1, FORM);
        let put = made(&[
            "/",
            "-X",
            "PUT",
            "-d",
            "{}",
            "-H",
            "Content-Type: text/plain",
        ]);
        assert_eq!(put.method, Method::PUT);
        assert_eq!(put.headers.len(), 1);
    }
}
