//! Where a function's log goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::environment::Output;
use crate::limits::TAIL_BYTES;

/// Output records of one environment that wait for the store. Beyond them its programs are held up.
const MAX_WAITING: usize = 256;

/// Records that are written at once.
const BATCH: usize = 256;

/// How long the end of an invocation waits for output that is on its way. Output that comes later is logged later.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// Keeps log records. The implementation bounds what it keeps.
#[async_trait]
pub trait Logs: Send + Sync + 'static {
    /// Appends records in order. Waits as long as the account may not write more. What is refused is lost: a log must
    /// never fail an invocation.
    async fn write(&self, place: &LogPlace, records: Vec<LogRecord>);
}

/// A stream of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// The account: 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// The group.
    pub group: String,
    /// The stream. It is created with the first record, as the group is.
    pub stream: String,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The text, without a newline at its end.
    pub text: String,
}

/// The name of an environment's stream (facts section 2.5). A custom group holds several functions, so its streams
/// have the function's name.
pub(crate) fn stream_name(
    function_name: &str,
    version: &str,
    group: &str,
    environment: &str,
    now: jiff::Timestamp,
) -> String {
    let day = now.strftime("%Y/%m/%d");
    if group == format!("/aws/lambda/{function_name}") {
        format!("{day}/[{version}]{environment}")
    } else {
        format!("{day}/{function_name}[{version}][{environment}]")
    }
}

/// The last bytes of the log of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn push(&mut self, line: &str) {
        let kept = &line.as_bytes()[line.len().saturating_sub(TAIL_BYTES)..];
        self.bytes.extend(kept);
        self.bytes.push_back(b'\n');
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..excess);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

/// The log of one environment: one task writes it in the order in which records are queued.
#[derive(Debug, Clone)]
pub(crate) struct LogQueue {
    /// Without a bound of its own: the platform writes a few records an invocation, and output holds permits.
    records: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    tail: Arc<Mutex<Tail>>,
}

struct Queued {
    record: LogRecord,
    _permit: Option<OwnedSemaphorePermit>,
}

impl LogQueue {
    pub(crate) fn start(logs: Arc<dyn Logs>, place: LogPlace) -> Self {
        let (records, queue) = mpsc::unbounded_channel();
        tokio::spawn(write_all(logs, place, queue));
        Self {
            records,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            tail: Arc::default(),
        }
    }

    /// Queues a record of the platform.
    pub(crate) fn say(&self, text: String) {
        self.queue(text, None);
    }

    /// Forgets the tail: an invocation begins.
    pub(crate) fn begin_tail(&self) {
        self.tail().clear();
    }

    /// The log of the present invocation, its last bytes.
    pub(crate) fn tail_bytes(&self) -> Vec<u8> {
        self.tail().bytes()
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, text: String, permit: Option<OwnedSemaphorePermit>) {
        self.tail().push(&text);
        let record = LogRecord {
            time_ms: jiff::Timestamp::now().as_millisecond(),
            text,
        };
        let queued = Queued {
            record,
            _permit: permit,
        };
        // The writer ends with the last handle.
        drop(self.records.send(queued));
    }

    /// Passes the output of a program on until it ends. Waits for room, so that the program waits too.
    pub(crate) fn pump(&self, mut output: mpsc::Receiver<Output>) -> Pump {
        let (barriers, mut asked) = mpsc::channel::<oneshot::Sender<()>>(4);
        let queue = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    record = output.recv() => match record {
                        Some(record) => queue.pass_on(record).await,
                        None => break,
                    },
                    // Nothing waits: all output before the question has been passed on.
                    Some(answer) = asked.recv() => drop(answer.send(())),
                }
            }
        });
        Pump { barriers }
    }

    async fn pass_on(&self, output: Output) {
        let text = String::from_utf8_lossy(&output.text);
        let text = text.trim_end_matches('\n');
        // CloudWatch has no empty events.
        if text.is_empty() {
            return;
        }
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        self.queue(text.to_owned(), permit);
    }
}

/// A program's output on its way into the log.
#[derive(Debug, Clone)]
pub(crate) struct Pump {
    barriers: mpsc::Sender<oneshot::Sender<()>>,
}

impl Pump {
    /// Returns when all output that has arrived is in the log, or it takes too long.
    pub(crate) async fn flush(&self) {
        let (answer, answered) = oneshot::channel();
        let flush = async {
            if self.barriers.send(answer).await.is_ok() {
                drop(answered.await);
            }
        };
        drop(tokio::time::timeout(FLUSH_LIMIT, flush).await);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.barriers.is_closed()
    }
}

async fn write_all(
    logs: Arc<dyn Logs>,
    place: LogPlace,
    mut queue: mpsc::UnboundedReceiver<Queued>,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut permits = Vec::new();
        let records = batch.drain(..).map(|queued| {
            permits.push(queued._permit);
            queued.record
        });
        let records = records.collect();
        logs.write(&place, records).await;
        drop(permits);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::environment::OutputSource;

    #[derive(Default)]
    struct Memory(Mutex<Vec<String>>);

    #[async_trait]
    impl Logs for Memory {
        async fn write(&self, _place: &LogPlace, records: Vec<LogRecord>) {
            let texts = records.into_iter().map(|record| record.text);
            self.0.lock().unwrap().extend(texts);
        }
    }

    fn place() -> LogPlace {
        LogPlace {
            account: "0".to_owned(),
            region: "r".to_owned(),
            group: "g".to_owned(),
            stream: "s".to_owned(),
        }
    }

    #[test]
    fn streams_are_named_by_day_version_and_environment() {
        let now = jiff::Timestamp::from_second(1_763_856_000).unwrap();
        assert_eq!(
            stream_name("f", "$LATEST", "/aws/lambda/f", "ab", now),
            "2025/11/23/[$LATEST]ab"
        );
        assert_eq!(
            stream_name("f", "3", "own", "ab", now),
            "2025/11/23/f[3][ab]"
        );
    }

    #[test]
    fn a_tail_is_the_end() {
        let mut tail = Tail::default();
        for number in 0..2000 {
            tail.push(&number.to_string());
        }
        let bytes = tail.bytes();
        assert_eq!(bytes.len(), TAIL_BYTES);
        assert!(bytes.ends_with(b"1998\n1999\n"));
        tail.push(&"x".repeat(TAIL_BYTES * 2));
        assert_eq!(tail.bytes().len(), TAIL_BYTES);
    }

    #[tokio::test]
    async fn what_came_before_a_flush_is_before_what_comes_after() {
        let logs = Arc::new(Memory::default());
        let queue = LogQueue::start(Arc::clone(&logs) as Arc<dyn Logs>, place());
        let (sender, output) = mpsc::channel(256);
        let pump = queue.pump(output);
        for number in 0..100 {
            let output = Output {
                source: OutputSource::Stdout,
                text: Bytes::from(number.to_string()),
            };
            sender.send(output).await.unwrap();
        }
        pump.flush().await;
        queue.say("END".to_owned());
        while logs.0.lock().unwrap().len() < 101 {
            tokio::task::yield_now().await;
        }
        assert_eq!(logs.0.lock().unwrap().last().unwrap(), "END");
    }
}
