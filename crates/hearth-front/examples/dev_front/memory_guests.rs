//! Guests without a machine: files in a map, and a handful of programs that a client's test needs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{StreamExt, iter};
use hearth_control::id::MicrovmId;
use hearth_control::microvm::Microvm;
use hearth_front::{
    Command, FileContent, GuestError, Guests, Input, LogStreamName, ProcessInput, ProcessOutput,
    TerminalSize,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Pieces in which files are read, so that answers stream.
const PIECE_BYTES: usize = 64 << 10;

type Files = HashMap<(MicrovmId, String), Bytes>;

#[derive(Default)]
pub(crate) struct MemoryGuests {
    files: Mutex<Files>,
}

impl MemoryGuests {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the archive of a directory is.
fn tree(path: &str) -> String {
    format!("{}/*", path.trim_end_matches('/'))
}

/// Gives back what it is told, and tells what else it hears.
async fn cat(mut input: Input, sender: mpsc::Sender<ProcessOutput>, size: Option<TerminalSize>) {
    let text = |text: String| ProcessOutput::Stdout(text.into());
    if let Some(TerminalSize { columns, rows }) = size {
        let _ = sender.send(text(format!("{columns}x{rows}\n"))).await;
    }
    while let Some(said) = input.next().await {
        let answer = match said {
            ProcessInput::Stdin(bytes) => ProcessOutput::Stdout(bytes),
            ProcessInput::Resize(size) => text(format!("{}x{}\n", size.columns, size.rows)),
            ProcessInput::Signal(number) => ProcessOutput::Killed(number),
            ProcessInput::StdinEnd => ProcessOutput::Exited(0),
        };
        let is_last = answer.is_last();
        if sender.send(answer).await.is_err() || is_last {
            return;
        }
    }
    // It waits for more, as long as somebody may say more.
    sender.closed().await;
}

#[async_trait]
impl Guests for MemoryGuests {
    async fn exec(
        &self,
        _: MicrovmId,
        command: Command,
        input: Input,
    ) -> Result<mpsc::Receiver<ProcessOutput>, GuestError> {
        let (sender, output) = mpsc::channel(2);
        let program = command.argv.first().map(String::as_str).unwrap_or_default();
        if program == "cat" {
            let size = command.tty;
            tokio::spawn(cat(input, sender, size));
            return Ok(output);
        }
        let said = match program {
            "fail" => vec![
                ProcessOutput::Stderr(Bytes::from_static(b"failed\n")),
                ProcessOutput::Exited(3),
            ],
            "die" => vec![ProcessOutput::Killed(9)],
            "sleep" => Vec::new(),
            other => return Err(GuestError::NotFound(format!("{other}: not found"))),
        };
        tokio::spawn(async move {
            for piece in said {
                let _ = sender.send(piece).await;
            }
            sender.closed().await;
        });
        Ok(output)
    }

    async fn read_file(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError> {
        let found = self.files().get(&(microvm, path.to_owned())).cloned();
        let content =
            found.ok_or_else(|| GuestError::NotFound(format!("open {path}: no such file")))?;
        let pieces: Vec<_> = content
            .chunks(PIECE_BYTES)
            .map(Bytes::copy_from_slice)
            .collect();
        Ok(Box::pin(iter(pieces.into_iter().map(Ok))))
    }

    async fn write_file(
        &self,
        microvm: MicrovmId,
        path: &str,
        _: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError> {
        let mut bytes = Vec::new();
        let read = content.read_to_end(&mut bytes).await;
        let size_bytes = read.map_err(|error| GuestError::Unreachable(Box::new(error)))?;
        self.files()
            .insert((microvm, path.to_owned()), bytes.into());
        Ok(size_bytes as u64)
    }

    /// A tree is one file here, and its archive whatever was put.
    async fn read_tree(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError> {
        self.read_file(microvm, &tree(path)).await
    }

    async fn write_tree(
        &self,
        microvm: MicrovmId,
        path: &str,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError> {
        self.write_file(microvm, &tree(path), 0, content).await
    }

    fn output(&self, microvm: &Microvm) -> Option<LogStreamName> {
        Some(LogStreamName {
            group: "/microvms".to_owned(),
            stream: microvm.id.to_string(),
        })
    }
}
