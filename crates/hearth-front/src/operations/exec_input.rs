//! Input of a running process: lines of the request's body, each a JSON object, while the answer is streamed back.
//!
//! The first line is the request itself. The end of the body is the end of standard input, not of the process.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, iter, once, unfold};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use crate::call::Upload;
use crate::fault::Fault;
use crate::guests::{Input, ProcessInput, TerminalSize};
use crate::sigv4::BodyClaim;

/// Longest line: room for the arguments and variables of a process, or for a large piece of input.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How long the first line may take to arrive.
const FIRST_LINE_TIME: Duration = Duration::from_secs(20);

/// Signals of Linux go up to this number.
const MAX_SIGNAL: i32 = 64;

/// A terminal as a request specifies it.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terminal {
    columns: u16,
    rows: u16,
}

impl Terminal {
    pub(super) fn checked(self) -> Result<TerminalSize, &'static str> {
        let Self { columns, rows } = self;
        if columns == 0 || rows == 0 {
            return Err("a terminal has at least one column and one row");
        }
        Ok(TerminalSize { columns, rows })
    }
}

/// One line after the first. It has exactly one member.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    Stdin(String),
    StdinEnd(bool),
    Signal(i32),
    Resize(Terminal),
}

/// The input of a process that gets nothing after the request.
pub(super) fn only(stdin: Bytes) -> Input {
    iter(some(stdin))
        .chain(iter([ProcessInput::StdinEnd]))
        .boxed()
}

fn some(stdin: Bytes) -> Option<ProcessInput> {
    (!stdin.is_empty()).then_some(ProcessInput::Stdin(stdin))
}

type Body = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

/// The lines of a body.
pub(super) struct Lines(FramedRead<Body, LinesCodec>);

impl Lines {
    /// The lines of a body that is still arriving, or of one that has arrived.
    pub(super) fn of(body: Bytes, upload: Option<Upload>) -> Result<Self, Fault> {
        let pieces = match upload {
            None => once(async move { Ok(body) }).boxed(),
            Some(Upload {
                body,
                claim: BodyClaim::Unsigned,
            }) => body.into_data_stream().map_err(io::Error::other).boxed(),
            // Whether such a body is the signed one would be known only at its end.
            Some(_) => {
                return Err(Fault::validation(
                    "Input that comes while the process runs needs x-amz-content-sha256: UNSIGNED-PAYLOAD",
                ));
            }
        };
        let codec = LinesCodec::new_with_max_length(MAX_LINE_BYTES);
        Ok(Self(FramedRead::new(StreamReader::new(pieces), codec)))
    }

    /// The first line.
    pub(super) async fn request(&mut self) -> Result<Bytes, Fault> {
        match timeout(FIRST_LINE_TIME, self.0.next()).await {
            Ok(Some(Ok(line))) => Ok(line.into()),
            Ok(None) => Err(Fault::validation("Invalid request: the body is empty")),
            Ok(Some(Err(error))) => Err(Fault::validation(format!(
                "Invalid request: {}",
                cause(&error)
            ))),
            Err(_) => Err(Fault::new(
                408,
                "RequestTimeoutException",
                "The request body did not arrive in time.",
            )),
        }
    }

    /// The lines after the first as input, after the input in the request itself; and the first error in them.
    pub(super) fn input(self, stdin: Bytes) -> (Input, oneshot::Receiver<String>) {
        let (broken, told) = oneshot::channel();
        let rest = unfold(Some((self.0, broken)), |state| async {
            let (mut lines, broken) = state?;
            match lines.next().await {
                None => Some((ProcessInput::StdinEnd, None)),
                Some(line) => match line
                    .map_err(|error| cause(&error))
                    .and_then(|line| read(&line))
                {
                    Ok(input) => Some((input, Some((lines, broken)))),
                    Err(cause) => {
                        // The process may have ended, so that nobody receives the error.
                        let _ = broken.send(cause);
                        None
                    }
                },
            }
        });
        let input = iter(some(stdin)).chain(rest).boxed();
        (input, told)
    }
}

fn read(line: &str) -> Result<ProcessInput, String> {
    match serde_json::from_str(line).map_err(|error| error.to_string())? {
        Line::Stdin(text) => {
            let bytes = base64_simd::STANDARD.decode_to_vec(text);
            let bytes = bytes.map_err(|_| "`stdin` is not base64".to_owned())?;
            Ok(ProcessInput::Stdin(bytes.into()))
        }
        Line::StdinEnd(true) => Ok(ProcessInput::StdinEnd),
        Line::StdinEnd(false) => Err("`stdinEnd` can only be true".to_owned()),
        Line::Signal(number) if (1..=MAX_SIGNAL).contains(&number) => {
            Ok(ProcessInput::Signal(number))
        }
        Line::Signal(_) => Err(format!("`signal` must be between 1 and {MAX_SIGNAL}")),
        Line::Resize(size) => Ok(ProcessInput::Resize(size.checked()?)),
    }
}

fn cause(error: &LinesCodecError) -> String {
    match error {
        LinesCodecError::MaxLineLengthExceeded => {
            format!("a line is longer than {MAX_LINE_BYTES} bytes")
        }
        LinesCodecError::Io(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn inputs(
        body: &'static str,
    ) -> (Vec<ProcessInput>, Result<String, oneshot::error::RecvError>) {
        let mut lines = Lines::of(Bytes::from_static(body.as_bytes()), None).unwrap();
        assert_eq!(lines.request().await.unwrap(), "{}");
        let (input, broken) = lines.input(Bytes::from_static(b"first"));
        (input.collect().await, broken.await)
    }

    #[tokio::test]
    async fn lines_become_input_in_their_order() {
        let body = "{}\n{\"stdin\": \"aGk=\"}\n{\"signal\": 2}\n{\"resize\": {\"columns\": 9, \"rows\": 8}}\n";
        let (input, broken) = inputs(body).await;
        let size = TerminalSize {
            columns: 9,
            rows: 8,
        };
        assert_eq!(
            input,
            [
                ProcessInput::Stdin("first".into()),
                ProcessInput::Stdin("hi".into()),
                ProcessInput::Signal(2),
                ProcessInput::Resize(size),
                ProcessInput::StdinEnd,
            ]
        );
        assert!(broken.is_err(), "nothing is wrong");
    }

    #[tokio::test]
    async fn a_line_that_makes_no_sense_ends_the_input_and_is_told() {
        for line in [
            "{",
            "{}",
            "{\"stdin\": \"*\"}",
            "{\"signal\": 65}",
            "{\"stdinEnd\": false}",
            "{\"resize\": {\"columns\": 0, \"rows\": 1}}",
            "{\"stdin\": \"aGk=\", \"signal\": 2}",
        ] {
            let body = Box::leak(format!("{{}}\n{line}\n{{\"signal\": 2}}\n").into_boxed_str());
            let (input, broken) = inputs(body).await;
            assert_eq!(input.len(), 1, "{line}");
            assert!(!broken.unwrap().is_empty(), "{line}");
        }
        let body: &str = Box::leak("x".repeat(MAX_LINE_BYTES + 1).into_boxed_str());
        let mut lines = Lines::of(Bytes::from_static(body.as_bytes()), None).unwrap();
        assert_eq!(lines.request().await.unwrap_err().status, 400);
    }
}
