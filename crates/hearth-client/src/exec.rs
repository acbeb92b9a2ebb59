//! A process in a guest, over a stream of JSON objects, one a line.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::error::{ClientError, Refusal};

const OPERATION: &str = "ExecMicrovm";

/// Longest line: 64 KiB in base64 and a few member names, with a margin.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The process to run.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables, added to the application's.
    pub env: BTreeMap<String, String>,
    /// Working directory; empty for the application's.
    pub cwd: String,
    /// User; empty for the application's.
    pub user: String,
    /// A terminal of so many columns and rows; then all output is [`ExecEvent::Stdout`].
    pub terminal: Option<(u16, u16)>,
    /// Time after which the process is killed.
    pub timeout_s: u32,
}

impl ExecRequest {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "command": self.command,
            "env": self.env,
            "cwd": self.cwd,
            "user": self.user,
            "tty": self.terminal.map(|(columns, rows)| json!({"columns": columns, "rows": rows})),
            "timeoutInSeconds": self.timeout_s,
        })
    }
}

/// An event of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// It wrote to its standard output.
    Stdout(Vec<u8>),
    /// It wrote to its standard error.
    Stderr(Vec<u8>),
    /// It ended, with the exit status that a shell would give.
    Exited(i32),
}

/// A process that was started. Dropping it kills the process.
pub struct ExecHandle {
    body: Incoming,
    unread: BytesMut,
}

impl ExecHandle {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            unread: BytesMut::new(),
        }
    }

    /// The next event. [`ExecEvent::Exited`] is the last one.
    ///
    /// # Errors
    ///
    /// When the process was lost or took too long, or the connection broke.
    pub async fn next(&mut self) -> Result<ExecEvent, ClientError> {
        loop {
            if let Some(line) = take_line(&mut self.unread) {
                return read_line(&line);
            }
            if self.unread.len() > MAX_LINE_BYTES {
                return Err(ClientError::CutOff(OPERATION));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.unread.extend_from_slice(&data);
                    }
                }
                Some(Err(source)) => {
                    return Err(ClientError::Broken {
                        operation: OPERATION,
                        source,
                    });
                }
                None => return Err(ClientError::CutOff(OPERATION)),
            }
        }
    }
}

/// The input of a running process. Dropping it ends the process's standard input.
pub struct ExecSender {
    lines: mpsc::Sender<Bytes>,
}

/// Pieces of input that wait for the connection.
const INPUTS: usize = 4;

impl ExecSender {
    /// The input, and the request body that carries it. The first line of the body is the request.
    pub(crate) fn new(request: &ExecRequest) -> (Self, mpsc::Receiver<Bytes>) {
        let (lines, carried) = mpsc::channel(INPUTS);
        // There is room.
        let _ = lines.try_send(line(&request.to_json()));
        (Self { lines }, carried)
    }

    /// Sends bytes to the process's standard input. False if the stream is closed: the events of the process tell why.
    pub async fn stdin(&self, bytes: &[u8]) -> bool {
        let text = base64_simd::STANDARD.encode_to_string(bytes);
        self.say(&json!({"stdin": text})).await
    }

    /// Ends the process's standard input.
    pub async fn end(&self) -> bool {
        self.say(&json!({"stdinEnd": true})).await
    }

    /// Changes the size of the process's terminal.
    pub async fn resize(&self, columns: u16, rows: u16) -> bool {
        self.say(&json!({"resize": {"columns": columns, "rows": rows}}))
            .await
    }

    async fn say(&self, value: &Value) -> bool {
        self.lines.send(line(value)).await.is_ok()
    }
}

fn line(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}

/// The next whole line, without its end.
fn take_line(unread: &mut BytesMut) -> Option<Bytes> {
    let end = unread.iter().position(|byte| *byte == b'\n')?;
    let mut line = unread.split_to(end + 1);
    line.truncate(end);
    Some(line.freeze())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Stdout(String),
    Stderr(String),
    Error {
        code: String,
        message: String,
    },
    #[serde(untagged)]
    Exit {
        #[serde(rename = "exitCode")]
        exit_code: i32,
    },
}

fn read_line(line: &[u8]) -> Result<ExecEvent, ClientError> {
    let malformed = |source| ClientError::Malformed {
        operation: OPERATION,
        source,
    };
    let bytes = |text: String| {
        base64_simd::STANDARD
            .decode_to_vec(text)
            .map_err(|_| ClientError::CutOff(OPERATION))
    };
    match serde_json::from_slice(line).map_err(malformed)? {
        Line::Stdout(text) => Ok(ExecEvent::Stdout(bytes(text)?)),
        Line::Stderr(text) => Ok(ExecEvent::Stderr(bytes(text)?)),
        Line::Exit { exit_code } => Ok(ExecEvent::Exited(exit_code)),
        Line::Error { code, message } => Err(Refusal {
            operation: OPERATION,
            status: 200,
            code,
            message,
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_any_pieces() {
        let mut unread = BytesMut::from("{\"stdout\":\"aGk=\"}\n{\"exit");
        assert_eq!(
            read_line(&take_line(&mut unread).unwrap()).unwrap(),
            ExecEvent::Stdout(b"hi".to_vec())
        );
        assert_eq!(take_line(&mut unread), None);
        unread.extend_from_slice(b"Code\":137,\"signal\":9}\n");
        assert_eq!(
            read_line(&take_line(&mut unread).unwrap()).unwrap(),
            ExecEvent::Exited(137)
        );
    }

    #[test]
    fn a_process_that_was_lost_is_a_refusal() {
        let line = br#"{"error":{"code":"TimeoutException","message":"killed"}}"#;
        let error = read_line(line).unwrap_err();
        assert_eq!(error.refusal().unwrap().code, "TimeoutException");
        assert!(read_line(b"{}").is_err());
        assert!(read_line(b"{\"stdout\":\"?\"}").is_err());
    }
}
