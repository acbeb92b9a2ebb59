//! Follows one running instance: its application's output goes to the log store, its end becomes an event.
//!
//! The stream of output shows the end: it ends when the application ends and breaks when the VMM ends.

use std::sync::Arc;
use std::time::Duration;

use hearth_control::host::{EventLog, HostEvent};
use hearth_control::instance::InstanceId;
use hearth_control::machine::microvm::REASON_LOST;
use hearth_logs::MAX_MESSAGE_BYTES;
use hearth_node::{AgentClient, Node, ProcessRecord, VmmEnd};
use hearth_wire::agent::{AppStatus, ControlReply, ControlRequest, ExitStatus, LogLine};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::line_parts::{Parts, Room, WholeLine};
use crate::output::Output;

/// Bytes of lines that may wait for the log store or be written to it: the longest event, and some lines beside it.
/// Beyond them the agent's own bounded buffer fills. The limit is there because a guest may send without end.
const QUEUE_BYTES: usize = MAX_MESSAGE_BYTES + (64 << 10);

/// Bytes that a line counts beside its text, so that empty lines are bounded too.
const LINE_OVERHEAD_BYTES: usize = 64;

/// Lines that may wait: as many as [`QUEUE_BYTES`] has room for.
const QUEUE_LINES: usize = QUEUE_BYTES / LINE_OVERHEAD_BYTES;

/// Lines written to the log store at once.
const BATCH_LINES: usize = 512;

/// How long the parts of a line wait for the next one. They take room that other guests wait for, so a guest that does not send it
/// has its line cut.
const REST_TIME: Duration = Duration::from_millis(250);

/// Longest wait for lines that were read to be written when a monitor stops.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// After this time without a line, everything that the agent has sent is taken to have arrived.
const QUIET: Duration = Duration::from_millis(20);

/// Pause before a stream that broke is opened again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The instance to follow.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) id: InstanceId,
    pub(crate) node: Node,
    pub(crate) agent: AgentClient,
    pub(crate) process: ProcessRecord,
    /// Where its output goes. Without it the output is read and dropped.
    pub(crate) output: Option<Output>,
}

/// A monitor that works until it is dropped or its instance ends.
#[derive(Debug)]
pub(crate) struct Monitor {
    watched: Watched,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Monitor {
    pub(crate) fn start(watched: Watched, events: Arc<EventLog>) -> Self {
        let followed = watched.clone();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let Some(reason) = follow(&followed, &stopped).await else {
                return;
            };
            events.push(HostEvent::Ended {
                id: followed.id,
                reason,
            });
        });
        Self {
            watched,
            stop,
            task,
        }
    }

    /// The VMM process of the instance.
    pub(crate) fn process(&self) -> ProcessRecord {
        self.watched.process
    }

    /// Stops following after the lines that were read are written. Answers the instance that it followed. Output
    /// that is still in the agent stays there.
    pub(crate) async fn stop(mut self) -> Watched {
        // The application's last output may still be in its pipe. The agent has read the pipe before its first answer,
        // and has sent the output before its second answer.
        for _ in 0..2 {
            let answer = self.watched.agent.control(ControlRequest::Status);
            let _ = tokio::time::timeout(STOP_LIMIT, answer).await;
        }
        self.stop.notify_one();
        // A slower log store loses lines instead of delaying the instance.
        let _ = tokio::time::timeout(STOP_LIMIT, &mut self.task).await;
        self.watched.clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the reason of the instance's end; `None` if `stop` came first.
async fn follow(watched: &Watched, stop: &Notify) -> Option<String> {
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        let when_quiet = async {
            stopped.as_mut().await;
            QUIET
        };
        let is_stopped = copy_output(&watched.agent, watched.output.as_ref(), when_quiet).await;
        if is_stopped {
            return None;
        }
        if let Ok(ControlReply::Status(AppStatus::Exited(status))) =
            watched.agent.control(ControlRequest::Status).await
        {
            let code = exit_code(status);
            return Some(format!("Container Stopped with Exit Code: {code}"));
        }
        if !watched.process.is_alive() {
            return Some(reason_lost(watched.node.end_of(watched.process).await));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Tells how the process of a microVM ended, if that is known.
fn reason_lost(end: Option<VmmEnd>) -> String {
    match end {
        Some(end) => format!("{}: {end}.", REASON_LOST.trim_end_matches('.')),
        None => REASON_LOST.to_owned(),
    }
}

/// Reads output until the stream ends, whatever the reason, or until `stop`. After `stop` it goes on until no line
/// came for the duration that `stop` gives, and writes all that it has read. Answers whether it was stopped.
pub(crate) async fn copy_output(
    agent: &AgentClient,
    output: Option<&Output>,
    stop: impl Future<Output = Duration>,
) -> bool {
    tokio::pin!(stop);
    let opened = tokio::select! {
        opened = agent.logs() => opened,
        _ = &mut stop => return true,
    };
    let Ok(mut lines) = opened else {
        return false;
    };
    let (sender, receiver) = mpsc::channel(QUEUE_LINES);
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    let read = async move {
        while let Ok(line) = lines.next().await {
            // Lines are shorter than the queue: the agent's client takes no longer ones.
            let bytes = (line.bytes.len() + LINE_OVERHEAD_BYTES).min(QUEUE_BYTES) as u32;
            let Ok(room) = Arc::clone(&room).acquire_many_owned(bytes).await else {
                break;
            };
            // Before it takes room that is everybody's.
            if let Some(output) = output {
                output.turn().await;
            }
            // One's own first: whoever fills that waits in nobody's way.
            let of_all = match output {
                Some(output) => output.room(line.bytes.len() + LINE_OVERHEAD_BYTES).await,
                None => None,
            };
            let waiting = Waiting {
                line,
                room: (room, of_all),
            };
            if sender.send(waiting).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        read.await;
        // The writer ends when it has all.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        is_stopped = write(receiver, output, stop) => is_stopped,
        () = read => false,
    }
}

/// A line that is not written yet.
struct Waiting {
    line: LogLine,
    room: Room,
}

async fn write(
    mut lines: mpsc::Receiver<Waiting>,
    output: Option<&Output>,
    stop: impl Future<Output = Duration>,
) -> bool {
    tokio::pin!(stop);
    let mut batch = Vec::with_capacity(BATCH_LINES);
    let mut parts = Parts::default();
    let mut quiet = None;
    loop {
        let count = match quiet {
            None => tokio::select! {
                count = lines.recv_many(&mut batch, BATCH_LINES) => count,
                () = tokio::time::sleep(REST_TIME), if !parts.is_empty() => {
                    // The rest of a line does not come.
                    let cut = parts.cut();
                    store(output, &cut).await;
                    continue;
                }
                wait = &mut stop => {
                    quiet = Some(wait);
                    continue;
                }
            },
            Some(wait) => {
                let more = tokio::time::timeout(wait, lines.recv_many(&mut batch, BATCH_LINES));
                more.await.unwrap_or(0)
            }
        };
        if count == 0 {
            store(output, &parts.cut()).await;
            return quiet.is_some();
        }
        let whole: Vec<_> = batch
            .drain(..)
            .flat_map(|waiting| parts.put(waiting.line, waiting.room))
            .collect();
        store(output, &whole).await;
    }
}

/// Writes lines. They give their room back when the caller drops them.
async fn store(output: Option<&Output>, lines: &[WholeLine]) {
    if let Some(output) = output {
        output
            .write(lines.iter().map(WholeLine::event).collect())
            .await;
    }
}

/// The exit code that a shell reports: 128 and the number for a signal.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_microvm_says_why_where_that_is_known() {
        let told = reason_lost(Some(VmmEnd::DeviceFaults));
        assert_eq!(
            told,
            "The MicroVM was lost on its host: ended by its VMM: device faults."
        );
        assert_eq!(reason_lost(None), REASON_LOST);
    }
}
