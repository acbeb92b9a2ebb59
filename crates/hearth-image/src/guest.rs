//! Steps of a build inside the builder microVM: `guest.sh`, run beside its agent.
//!
//! All data from the guest is bounded: lines of output by their length and their sum, answers by their size.

use std::collections::VecDeque;
use std::future::ready;
use std::io;
use std::sync::Arc;

use hearth_node::{AgentClient, AgentError, Exec, ExecReader, ExecWriter};
use hearth_wire::agent::{ExecInput, ExecOutput, ExecPlace, ExecSpec, ExitStatus, MAX_CHUNK_BYTES};
use tokio::sync::mpsc;

use crate::artifact::{Artifact, ArtifactError};

pub(crate) const SCRIPT: &str = include_str!("guest.sh");

/// Most bytes of a failed step's error output that are kept: those at its end.
const MAX_COMPLAINT_BYTES: usize = 4 << 10;

/// Most bytes of a short answer: a word and the end of the line.
const MAX_ANSWER_BYTES: u64 = 64;

/// Most pieces of the context that wait for the guest: half a megabyte together.
const PIECES: usize = 8;

/// Why a step failed. Failures that a Dockerfile can cause are [`crate::Failure`].
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The agent cannot be reached or refuses the request.
    #[error("lost the builder microVM")]
    Agent(#[from] AgentError),
    /// The artifact is damaged.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A step failed.
    #[error("the step {step} of the build failed ({status:?}): {complaint}")]
    Step {
        /// The step.
        step: &'static str,
        /// Exit status of the step.
        status: ExitStatus,
        /// The end of its error output.
        complaint: String,
    },
    /// The answer of a step is too long.
    #[error("the step {step} of the build answered more than {limit} bytes")]
    TooLong {
        /// The step.
        step: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The answer of a step cannot be stored.
    #[error("cannot write what the builder microVM sends")]
    Keep(#[source] io::Error),
}

/// Runs steps of `guest.sh` through the builder's agent.
#[derive(Debug, Clone)]
pub(crate) struct Guest(pub(crate) AgentClient);

impl Guest {
    /// Mounts the disks and unpacks the artifact.
    pub(crate) async fn send_context(&self, artifact: Arc<Artifact>) -> Result<(), GuestError> {
        let (reader, mut writer) = self.start("context", &[]).await?.split();
        let (sink, mut pieces) = mpsc::channel(PIECES);
        let reading = tokio::task::spawn_blocking(move || artifact.write_tar(PieceSink::new(sink)));
        let feed = async {
            while let Some(piece) = pieces.recv().await {
                writer.send(&ExecInput::Stdin(piece)).await?;
            }
            Ok::<ExecWriter, AgentError>(writer)
        };
        let mut answer = Vec::new();
        let end = finish(reader, "context", |bytes| {
            ready(keep(&mut answer, &bytes, "context", 0))
        });
        tokio::pin!(end);
        // A step that ends before everything is sent has failed.
        let fed = tokio::select! {
            fed = feed => fed,
            ended = &mut end => return ended,
        };
        drop(pieces);
        // A truncated artifact must not look like a complete one.
        match reading.await {
            Ok(read) => read?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        // The writer is kept until the end: closing the host's side kills the process.
        let mut writer = fed?;
        writer.send(&ExecInput::StdinEnd).await?;
        end.await
    }

    /// Unpacks settings, a tar archive, into the root where buildah runs.
    pub(crate) async fn send_settings(&self, archive: Vec<u8>) -> Result<(), GuestError> {
        let (reader, mut writer) = self.start("settings", &[]).await?.split();
        for piece in archive.chunks(MAX_CHUNK_BYTES) {
            writer.send(&ExecInput::Stdin(piece.to_vec())).await?;
        }
        writer.send(&ExecInput::StdinEnd).await?;
        finish(reader, "settings", |_| ready(Ok(()))).await
    }

    /// Prepares the disk of layers for later builds. Returns whether anything was added to it.
    pub(crate) async fn settle_cache(&self) -> Result<bool, GuestError> {
        let answer = self.ask("keep", &[], MAX_ANSWER_BYTES).await?;
        Ok(answer.trim_ascii() == b"changed")
    }

    /// Runs buildah.
    pub(crate) async fn build(&self, options: &[String]) -> Result<Buildah, GuestError> {
        let (reader, mut writer) = self.start("build", options).await?.split();
        writer.send(&ExecInput::StdinEnd).await?;
        Ok(Buildah {
            reader,
            _writer: writer,
            pending: [Lines::default(), Lines::default()],
            whole: VecDeque::new(),
            ended: None,
        })
    }

    /// Runs a step and returns its output of at most `limit` bytes.
    pub(crate) async fn ask(
        &self,
        step: &'static str,
        arguments: &[String],
        limit: u64,
    ) -> Result<Vec<u8>, GuestError> {
        let mut answer = Vec::new();
        self.receive(step, arguments, |bytes| {
            ready(keep(&mut answer, &bytes, step, limit))
        })
        .await?;
        Ok(answer)
    }

    /// Runs a step and passes its output, piece by piece, to `take`.
    pub(crate) async fn receive<F: Future<Output = Result<(), GuestError>>>(
        &self,
        step: &'static str,
        arguments: &[String],
        take: impl FnMut(Vec<u8>) -> F,
    ) -> Result<(), GuestError> {
        let (reader, mut writer) = self.start(step, arguments).await?.split();
        writer.send(&ExecInput::StdinEnd).await?;
        finish(reader, step, take).await
    }

    async fn start(&self, step: &str, arguments: &[String]) -> Result<Exec, AgentError> {
        let head = ["/bin/busybox", "sh", "-c", SCRIPT, "guest.sh", step];
        let spec = ExecSpec {
            argv: head
                .into_iter()
                .map(str::to_owned)
                .chain(arguments.iter().cloned())
                .collect(),
            env: Default::default(),
            cwd: "/".to_owned(),
            user: String::new(),
            tty: None,
            place: ExecPlace::Agent,
        };
        self.0.exec(spec).await
    }
}

/// An event of a running buildah.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A line, of either stream.
    Line(String),
    /// It has ended with this status; no event follows.
    End(ExitStatus),
}

/// A running buildah; dropping it ends it.
pub(crate) struct Buildah {
    reader: ExecReader,
    /// The agent ends an exec whose writer is dropped.
    _writer: ExecWriter,
    /// Incomplete lines of stdout and stderr.
    pending: [Lines; 2],
    /// Complete lines that were not returned yet.
    whole: VecDeque<String>,
    ended: Option<ExitStatus>,
}

impl Buildah {
    /// The next event.
    pub(crate) async fn next(&mut self) -> Result<Said, GuestError> {
        loop {
            if let Some(line) = self.whole.pop_front() {
                return Ok(Said::Line(line));
            }
            if let Some(status) = self.ended {
                return Ok(Said::End(status));
            }
            match self.reader.next().await? {
                ExecOutput::Stdout(bytes) => self.whole.extend(self.pending[0].push(&bytes)),
                ExecOutput::Stderr(bytes) => self.whole.extend(self.pending[1].push(&bytes)),
                // Of programs of functions alone.
                ExecOutput::Framed(_) => {}
                ExecOutput::Exit(status) => {
                    self.ended = Some(status);
                    let pending = std::mem::take(&mut self.pending);
                    self.whole
                        .extend(pending.into_iter().filter_map(Lines::rest));
                }
            }
        }
    }
}

/// Reads the output of a step to its end. Fails unless the step succeeded.
async fn finish<F: Future<Output = Result<(), GuestError>>>(
    mut reader: ExecReader,
    step: &'static str,
    mut take: impl FnMut(Vec<u8>) -> F,
) -> Result<(), GuestError> {
    let mut complaint = Vec::new();
    loop {
        match reader.next().await? {
            ExecOutput::Stdout(bytes) => take(bytes).await?,
            ExecOutput::Stderr(bytes) => {
                complaint.extend(bytes);
                let surplus = complaint.len().saturating_sub(MAX_COMPLAINT_BYTES);
                complaint.drain(..surplus);
            }
            // Of programs of functions alone.
            ExecOutput::Framed(_) => {}
            ExecOutput::Exit(ExitStatus::Code(0)) => return Ok(()),
            ExecOutput::Exit(status) => {
                return Err(GuestError::Step {
                    step,
                    status,
                    complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
                });
            }
        }
    }
}

fn keep(
    answer: &mut Vec<u8>,
    bytes: &[u8],
    step: &'static str,
    limit: u64,
) -> Result<(), GuestError> {
    if (answer.len() + bytes.len()) as u64 > limit {
        return Err(GuestError::TooLong { step, limit });
    }
    answer.extend_from_slice(bytes);
    Ok(())
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

/// Longest line, in bytes; a longer one is cut in pieces.
const MAX_LINE_BYTES: usize = 8 << 10;

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            // Progress bars return to the start of their line. Each state becomes a line.
            if matches!(byte, b'\n' | b'\r') {
                lines.extend(std::mem::take(self).rest());
                continue;
            }
            self.0.push(*byte);
            if self.0.len() == MAX_LINE_BYTES {
                lines.extend(std::mem::take(self).rest());
            }
        }
        lines
    }

    /// The rest without an end of line; `None` if it is empty.
    fn rest(self) -> Option<String> {
        (!self.0.is_empty()).then(|| String::from_utf8_lossy(&self.0).into_owned())
    }
}

/// Passes written bytes on in pieces of a frame's size. Used on a blocking thread.
struct PieceSink {
    sink: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
}

impl PieceSink {
    fn new(sink: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            sink,
            piece: Vec::with_capacity(MAX_CHUNK_BYTES),
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(MAX_CHUNK_BYTES));
        let gone = |_| io::ErrorKind::BrokenPipe.into();
        self.sink.blocking_send(piece).map_err(gone)
    }
}

impl io::Write for PieceSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_CHUNK_BYTES - self.piece.len();
        let count = room.min(bytes.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == MAX_CHUNK_BYTES {
            self.pass_on()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PieceSink {
    fn drop(&mut self) {
        if !self.piece.is_empty() {
            // A receiver that is gone reports its own error.
            let _ = self.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_become_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert_eq!(
            lines.push(b"o\r\n\n 50%\r100%\nrest"),
            ["two", " 50%", "100%"]
        );
        assert_eq!(lines.rest().as_deref(), Some("rest"));
        let mut lines = Lines::default();
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(lines.push(&long).len(), 1);
        assert_eq!(lines.rest().as_deref(), Some("x"));
    }
}
