//! One program of a function: its output on the way to whoever reads it, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hearth_invoke::FramedLog;
use hearth_invoke::{Output, OutputSource, ProgramEnd};
use hearth_node::{AgentClient, AgentError, ExecReader};
use hearth_wire::agent::{ControlReply, ControlRequest, ExecOutput, ExitStatus, FunctionUsage};
use tokio::sync::{mpsc, oneshot};

/// Signal of the kernel's OOM killer.
const SIGKILL: i32 = 9;

/// What passes the output of one program on.
pub(super) struct Pump {
    pub(super) reader: ExecReader,
    pub(super) output: mpsc::Sender<Output>,
    pub(super) end: oneshot::Sender<ProgramEnd>,
    pub(super) agent: AgentClient,
    /// Processes that were killed for want of memory, as far as somebody has been told.
    pub(super) memory_kills: Arc<AtomicU64>,
}

impl Pump {
    /// Passes everything on until the program has ended, and then its end.
    pub(super) async fn run(mut self) {
        let mut stdout = super::lines::Lines::default();
        let mut stderr = super::lines::Lines::default();
        let mut framed = FramedLog::default();
        let end = loop {
            let (source, records) = match self.reader.next().await {
                Ok(ExecOutput::Stdout(bytes)) => (OutputSource::Stdout, stdout.push(&bytes)),
                Ok(ExecOutput::Stderr(bytes)) => (OutputSource::Stderr, stderr.push(&bytes)),
                Ok(ExecOutput::Framed(bytes)) => {
                    let records = framed.push(&bytes).into_iter();
                    (
                        OutputSource::Framed,
                        records.map(|record| record.text).collect(),
                    )
                }
                Ok(ExecOutput::Exit(status)) => break self.end_of(status).await,
                Err(error) => {
                    tracing::debug!(%error, "the stream of a function's program broke");
                    break ProgramEnd::Lost;
                }
            };
            self.send(source, records).await;
        };
        self.send(OutputSource::Stdout, stdout.finish()).await;
        self.send(OutputSource::Stderr, stderr.finish()).await;
        let rest = framed.finish().map(|record| record.text);
        self.send(OutputSource::Framed, rest).await;
        // Nobody has to wait for it.
        let _ = self.end.send(end);
    }

    async fn send(&self, source: OutputSource, records: impl IntoIterator<Item = Bytes>) {
        for text in records {
            // Output that nobody reads is thrown away.
            let _ = self.output.send(Output { source, text }).await;
        }
    }

    async fn end_of(&self, status: ExitStatus) -> ProgramEnd {
        match status {
            ExitStatus::Code(code) => ProgramEnd::Exited(code),
            ExitStatus::Signal(SIGKILL) if self.was_short_of_memory().await => {
                ProgramEnd::OutOfMemory
            }
            ExitStatus::Signal(signal) => ProgramEnd::Signaled(signal),
        }
    }

    /// Whether the kernel has killed for want of memory since this was asked last.
    async fn was_short_of_memory(&self) -> bool {
        match usage(&self.agent).await {
            Ok(usage) => {
                let kills = usage.memory_kills;
                self.memory_kills.swap(kills, Ordering::Relaxed) < kills
            }
            Err(_) => false,
        }
    }
}

/// What the programs of a guest have used.
pub(super) async fn usage(agent: &AgentClient) -> Result<FunctionUsage, AgentError> {
    match agent.control(ControlRequest::FunctionUsage).await? {
        ControlReply::FunctionUsage(usage) => Ok(usage),
        _ => Err(AgentError::Confused),
    }
}
