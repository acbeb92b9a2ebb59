//! Reads what processes write, line by line.

use bytes::{Bytes, BytesMut};
use hearth_invoke::{MAX_OUTPUT_BYTES, Output, OutputSource};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::mpsc;

/// Passes lines on until both pipes have ended.
pub(super) fn read(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    lines: mpsc::Sender<Output>,
) {
    if let Some(stdout) = stdout {
        tokio::spawn(pass_on(stdout, OutputSource::Stdout, lines.clone()));
    }
    if let Some(stderr) = stderr {
        tokio::spawn(pass_on(stderr, OutputSource::Stderr, lines));
    }
}

async fn pass_on(
    mut pipe: impl AsyncRead + Unpin,
    source: OutputSource,
    lines: mpsc::Sender<Output>,
) {
    let mut buffer = BytesMut::new();
    while pipe.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        while let Some(text) = line(&mut buffer) {
            if lines.send(Output { source, text }).await.is_err() {
                return;
            }
        }
    }
    let text = buffer.freeze();
    if !text.is_empty() {
        drop(lines.send(Output { source, text }).await);
    }
}

fn line(buffer: &mut BytesMut) -> Option<Bytes> {
    let end = buffer.iter().position(|byte| *byte == b'\n');
    match end {
        Some(end) if end <= MAX_OUTPUT_BYTES => {
            let line = buffer.split_to(end).freeze();
            drop(buffer.split_to(1));
            Some(line)
        }
        _ if buffer.len() >= MAX_OUTPUT_BYTES => Some(buffer.split_to(MAX_OUTPUT_BYTES).freeze()),
        _ => None,
    }
}
