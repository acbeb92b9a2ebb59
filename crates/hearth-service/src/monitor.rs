//! Follows one running microVM: its application's output goes to the log store, its end becomes an event.
//!
//! The stream of output is the watch: it ends when the application ends and breaks when the VMM does.

use std::time::Duration;

use hearth_control::id::MicrovmId;
use hearth_control::machine::microvm::REASON_LOST;
use hearth_control::node::NodeEvent;
use hearth_logs::NewEvent;
use hearth_node::{AgentClient, ProcessRecord};
use hearth_wire::agent::{AppStatus, ControlReply, ControlRequest, ExitStatus, LogLine};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::output::Output;

/// Lines that may wait for the log store; then the agent's own bounded buffer takes over.
const QUEUE_LINES: usize = 1024;

/// Lines written to the log store at once.
const BATCH_LINES: usize = 512;

/// Pause before a stream that broke is opened again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Whom to follow.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) id: MicrovmId,
    pub(crate) agent: AgentClient,
    pub(crate) process: ProcessRecord,
    /// Where its output goes; it is read and dropped without.
    pub(crate) output: Option<Output>,
}

/// A monitor that works until it is dropped or its microVM ends.
#[derive(Debug)]
pub(crate) struct Monitor {
    watched: Watched,
    task: AbortHandle,
}

impl Monitor {
    pub(crate) fn start(watched: Watched, events: mpsc::Sender<NodeEvent>) -> Self {
        let followed = watched.clone();
        let task = tokio::spawn(async move {
            let reason = follow(&followed).await;
            let ended = NodeEvent::Ended {
                id: followed.id,
                reason,
            };
            // Nobody to tell means that the service is stopping; its successor looks itself.
            let _ = events.send(ended).await;
        });
        Self {
            watched,
            task: task.abort_handle(),
        }
    }

    /// The process that runs the microVM.
    pub(crate) fn process(&self) -> ProcessRecord {
        self.watched.process
    }

    /// Stops following; answers whom it followed.
    pub(crate) fn stop(self) -> Watched {
        self.watched.clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the reason of the microVM's end.
async fn follow(watched: &Watched) -> String {
    loop {
        copy_output(&watched.agent, watched.output.as_ref()).await;
        if let Ok(ControlReply::Status(AppStatus::Exited(status))) =
            watched.agent.control(ControlRequest::Status).await
        {
            return format!("Container Stopped with Exit Code: {}", exit_code(status));
        }
        if !watched.process.is_alive() {
            return REASON_LOST.to_owned();
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Reads output until the stream ends, whatever the reason.
pub(crate) async fn copy_output(agent: &AgentClient, output: Option<&Output>) {
    let Ok(mut lines) = agent.logs().await else {
        return;
    };
    let (sender, receiver) = mpsc::channel(QUEUE_LINES);
    let read = async move {
        while let Ok(line) = lines.next().await {
            if sender.send(line).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write(receiver, output));
}

async fn write(mut lines: mpsc::Receiver<LogLine>, output: Option<&Output>) {
    let mut batch = Vec::with_capacity(BATCH_LINES);
    while lines.recv_many(&mut batch, BATCH_LINES).await > 0 {
        let events = batch.drain(..).map(|line| event(&line)).collect();
        if let Some(output) = output {
            output.write(events).await;
        }
    }
}

/// Output is bytes, log events are text.
fn event(line: &LogLine) -> NewEvent {
    NewEvent {
        time_ms: i64::try_from(line.realtime_ns / 1_000_000).unwrap_or(i64::MAX),
        message: String::from_utf8_lossy(&line.bytes).into_owned(),
    }
}

/// An exit code as shells tell it.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal,
    }
}
