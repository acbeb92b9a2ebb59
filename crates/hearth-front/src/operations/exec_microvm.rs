//! `POST .../exec`: runs a process beside the application, and streams its input and output.
//!
//! ```text
//! guest -> receiver -> relay (a task, holds the deadline) -> lines -> the connection
//! guest <- input (exec_input.rs) <- lines of the request's body, while they come
//! ```
//!
//! Each arrow has a small queue. A client that does not read blocks the process. A client that disconnects drops
//! `lines`. That ends the relay, which drops `receiver`, which kills the process.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use hearth_control::throttle::Rate;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::Context;
use super::address::{NDJSON, has_lines};
use super::exec_input::{Lines, Terminal, only};
use super::guest_fault::guest_fault;
use super::streamed::streamed;
use crate::call::Call;
use crate::fault::Fault;
use crate::guests::{Command, GuestError, ProcessOutput};
use crate::wire::Reply;

/// Timeout of a process if the request sets none.
const DEFAULT_TIME_S: u64 = 60;

/// Longest timeout of a process: what runs longer belongs into the application.
const MAX_TIME_S: u64 = 3600;

/// Lines that may wait for the client. Each has at most 88 KiB (64 KiB in base64).
const LINES: usize = 4;

/// How long to wait for a client that does not read, to send it the last line.
const LAST_WORD: Duration = Duration::from_secs(10);

/// As in a shell: the exit code of a killed process is this number plus that of the signal.
const SIGNAL_BASE: i32 = 128;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    cwd: String,
    #[serde(default)]
    user: String,
    stdin: Option<String>,
    tty: Option<Terminal>,
    timeout_in_seconds: Option<u64>,
}

pub(super) async fn perform(context: &Context<'_>, call: Call) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherWrite)?;
    let mut lines = has_lines(&call.head)
        .then(|| Lines::of(call.body.clone(), call.upload))
        .transpose()?;
    let request = match &mut lines {
        None => call.body,
        Some(lines) => lines.request().await?,
    };
    let Asked {
        command,
        stdin,
        time,
    } = read(&request)?;
    let (input, broken) = match lines {
        None => (only(stdin), None),
        Some(lines) => {
            let (input, broken) = lines.input(stdin);
            (input, Some(broken))
        }
    };
    let microvm = context.running_microvm().await?;
    let deadline = Instant::now() + time;
    let started = timeout_at(deadline, context.guests().exec(microvm.id, command, input)).await;
    let output = match started {
        Ok(started) => started.map_err(|error| guest_fault(&error))?,
        Err(elapsed) => return Err(guest_fault(&GuestError::Unreachable(Box::new(elapsed)))),
    };
    let (sender, lines) = mpsc::channel(LINES);
    tokio::spawn(relay(output, sender, broken, deadline));
    Ok(streamed(NDJSON, lines))
}

/// What a request asks for.
struct Asked {
    command: Command,
    stdin: Bytes,
    time: Duration,
}

fn read(body: &[u8]) -> Result<Asked, Fault> {
    let invalid =
        |cause: &dyn std::fmt::Display| Fault::validation(format!("Invalid request: {cause}"));
    let request: Request = serde_json::from_slice(body).map_err(|error| invalid(&error))?;
    if request.command.first().is_none_or(String::is_empty) {
        return Err(invalid(&"`command` must name a program"));
    }
    let seconds = request.timeout_in_seconds.unwrap_or(DEFAULT_TIME_S);
    if !(1..=MAX_TIME_S).contains(&seconds) {
        return Err(invalid(&format!(
            "`timeoutInSeconds` must be between 1 and {MAX_TIME_S}"
        )));
    }
    let stdin = base64_simd::STANDARD
        .decode_to_vec(request.stdin.unwrap_or_default())
        .map_err(|_| invalid(&"`stdin` is not base64"))?;
    let command = Command {
        argv: request.command,
        env: request.env,
        cwd: request.cwd,
        user: request.user,
        tty: request
            .tty
            .map(|size| size.checked().map_err(|cause| invalid(&cause)))
            .transpose()?,
    };
    Ok(Asked {
        command,
        stdin: stdin.into(),
        time: Duration::from_secs(seconds),
    })
}

/// Passes output on until the process ends, the timeout expires, the input is invalid, or the client disconnects.
async fn relay(
    mut output: mpsc::Receiver<ProcessOutput>,
    lines: mpsc::Sender<Bytes>,
    broken: Option<oneshot::Receiver<String>>,
    deadline: Instant,
) {
    let passing = async {
        while let Some(said) = output.recv().await {
            if lines.send(line(&describe(&said))).await.is_err() || said.is_last() {
                return;
            }
        }
    };
    let last = tokio::select! {
        passed = timeout_at(deadline, passing) => match passed {
            Ok(()) => return,
            Err(_) => error("TimeoutException", "The process was killed because its time was over."),
        },
        cause = told(broken) => error("ValidationException", &format!("Invalid request: {cause}")),
        () = lines.closed() => return,
    };
    // Kills the process before anything that may take time.
    drop(output);
    // A client that does not read notices by the missing last line.
    let _ = timeout(LAST_WORD, lines.send(line(&last))).await;
}

/// The error in the input, if one ever occurs.
async fn told(broken: Option<oneshot::Receiver<String>>) -> String {
    match broken {
        // The sender was dropped: the input ended without an error.
        Some(broken) => match broken.await {
            Ok(cause) => cause,
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

fn describe(said: &ProcessOutput) -> Value {
    let base64 = |bytes: &Bytes| base64_simd::STANDARD.encode_to_string(bytes);
    match said {
        ProcessOutput::Stdout(bytes) => json!({"stdout": base64(bytes)}),
        ProcessOutput::Stderr(bytes) => json!({"stderr": base64(bytes)}),
        ProcessOutput::Exited(code) => json!({"exitCode": code}),
        ProcessOutput::Killed(signal) => {
            json!({"exitCode": SIGNAL_BASE.saturating_add(*signal), "signal": signal})
        }
        ProcessOutput::Lost(cause) => {
            let fault = guest_fault(cause);
            error(fault.code, &fault.message.unwrap_or_default())
        }
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

fn line(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}
