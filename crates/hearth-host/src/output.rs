//! Where the output of applications and builds goes: groups and streams of the log store.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_control::instance::{Logging, OutputPlace};
use hearth_logs::{LogOwner, LogStore, MAX_BATCH_BYTES, NewEvent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that an event counts beside its text (CloudWatch Logs).
const EVENT_OVERHEAD_BYTES: usize = 26;

/// The log store, with the room for lines of all guests that wait for it.
#[derive(Debug, Clone)]
pub struct OutputStore {
    store: Arc<LogStore>,
    room: Arc<Semaphore>,
}

impl OutputStore {
    /// Lines of all guests together may wait in so many bytes. Beyond them guests wait, in turn: their agents' buffers fill.
    pub fn new(store: Arc<LogStore>, room_bytes: u64) -> Self {
        let room_bytes = usize::try_from(room_bytes).unwrap_or(usize::MAX);
        Self {
            store,
            room: Arc::new(Semaphore::new(room_bytes.min(Semaphore::MAX_PERMITS))),
        }
    }
}

/// One stream of the log store that this process writes to.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    store: OutputStore,
    owner: LogOwner,
    group: String,
    stream: String,
}

impl Output {
    /// The stream that `logging` asks for; `None` when the output is not wanted.
    pub(crate) fn new(store: &OutputStore, wanted: &OutputPlace, writer: &str) -> Option<Self> {
        let (group, stream) = place(wanted, writer)?;
        Some(Self {
            store: store.clone(),
            owner: LogOwner {
                account: wanted.scope.account.to_string(),
                region: wanted.scope.region.to_string(),
            },
            group,
            stream,
        })
    }

    /// Waits until the account may write again. Lines that come meanwhile wait in their guests, which mark what they lose.
    pub(crate) async fn turn(&self) {
        loop {
            let wait = self.store.store.wait_of(&self.owner.account);
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits for room for so many bytes, which they have until it is dropped; `None` when the host ends.
    pub(crate) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        let room = Arc::clone(&self.store.room);
        room.acquire_many_owned(bytes).await.ok()
    }

    /// Appends lines, each with the time it was written. Lines that the store refuses are lost and logged for the
    /// operator: output must never block its writer.
    pub(crate) async fn write(&self, mut events: Vec<NewEvent>) {
        events.retain(|event| !event.message.is_empty());
        events.sort_by_key(|event| event.time_ms);
        for batch in batches(&events) {
            if let Err(error) = self.append(batch).await {
                tracing::warn!(%error, group = self.group, stream = self.stream, "output was lost");
                return;
            }
        }
    }

    /// Appends one line with the present time.
    pub(crate) async fn say(&self, message: impl Into<String>) {
        let message = message.into();
        let time_ms = now_ms();
        self.write(vec![NewEvent { time_ms, message }]).await;
    }

    async fn append(&self, events: &[NewEvent]) -> Result<(), hearth_logs::LogError> {
        let (store, now_ms) = (&self.store.store, now_ms());
        let (owner, group, stream) = (&self.owner, &self.group, &self.stream);
        match store
            .append_async(owner, group, stream, events, now_ms)
            .await
        {
            Err(hearth_logs::LogError::NoGroup | hearth_logs::LogError::NoStream) => {
                store
                    .ensure_stream_async(owner, group, stream, now_ms)
                    .await?;
                let again = store.append_async(owner, group, stream, events, now_ms);
                again.await.map(drop)
            }
            appended => appended.map(drop),
        }
    }
}

/// Splits events into batches within the store's limits.
fn batches(events: &[NewEvent]) -> impl Iterator<Item = &[NewEvent]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |event: &&NewEvent| {
            bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
            bytes <= MAX_BATCH_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (batch, later) = rest.split_at(count);
        rest = later;
        (!batch.is_empty()).then_some(batch)
    })
}

/// Group and stream that the output goes to; `None` when it is not wanted. The default stream is `YYYY/MM/DD[<version>]<writer>` (facts
/// section 11, measured). The writer is an instance's id, or what a build does.
pub fn place(wanted: &OutputPlace, writer: &str) -> Option<(String, String)> {
    let (group, stream) = match &wanted.logging {
        Some(Logging::Disabled) => return None,
        None => (None, None),
        Some(Logging::CloudWatch { group, stream }) => (group.clone(), stream.clone()),
    };
    Some((
        group.unwrap_or_else(|| wanted.group.clone()),
        stream.unwrap_or_else(|| default_stream(wanted, writer)),
    ))
}

fn default_stream(wanted: &OutputPlace, writer: &str) -> String {
    let day = jiff::Timestamp::from_millisecond(wanted.begun_at.unix_ms())
        .unwrap_or_default()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y/%m/%d")
        .to_string();
    format!("{day}[{}]{writer}", wanted.version)
}

/// Milliseconds since 1970 by this host's wall clock.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use hearth_control::arn::Scope;
    use hearth_control::id::AccountId;
    use hearth_control::time::Timestamp;
    use hearth_logs::LogLimits;

    use super::*;

    /// However many guests write, their lines take no more than this.
    #[tokio::test]
    async fn lines_of_all_guests_share_their_room() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::open(&directory.path().join("logs.db"), LogLimits::default());
        let store = OutputStore::new(Arc::new(store.unwrap()), 100);
        let wanted = OutputPlace {
            scope: Scope {
                account: AccountId::FIRST,
                region: "us-east-1".parse().unwrap(),
            },
            group: "/g".to_owned(),
            version: "1.0".to_owned(),
            logging: None,
            begun_at: Timestamp::from_unix_ms(0),
        };
        let of = |writer| Output::new(&store, &wanted, writer).unwrap();
        let (busy, other) = (of("busy"), of("other"));
        let held = busy.room(60).await.unwrap();
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, other.room(41)).await.is_err());
        drop(held);
        assert!(other.room(100).await.is_some());
    }

    #[test]
    fn streams_are_named_by_day_version_and_writer() {
        let mut wanted = OutputPlace {
            scope: Scope {
                account: AccountId::FIRST,
                region: "us-east-1".parse().unwrap(),
            },
            group: "/aws/lambda-microvms/web".to_owned(),
            version: "1.0".to_owned(),
            logging: None,
            begun_at: Timestamp::from_unix_ms(1_763_856_000_000),
        };
        let placed = place(&wanted, "microvm-x").unwrap();
        assert_eq!(placed.0, "/aws/lambda-microvms/web");
        assert_eq!(placed.1, "2025/11/23[1.0]microvm-x");
        wanted.logging = Some(Logging::Disabled);
        assert_eq!(place(&wanted, "microvm-x"), None);
    }

    #[test]
    fn no_batch_is_larger_than_the_store_takes() {
        let event = |length: usize| NewEvent {
            time_ms: 0,
            message: "x".repeat(length),
        };
        let events: Vec<_> = std::iter::repeat_n(event(16 << 10), 200).collect();
        let sizes: Vec<usize> = batches(&events)
            .map(|batch| batch.iter().map(|event| event.message.len() + 26).sum())
            .collect();
        assert!(
            sizes.iter().all(|size| *size <= MAX_BATCH_BYTES),
            "{sizes:?}"
        );
        assert_eq!(batches(&events).map(<[_]>::len).sum::<usize>(), 200);
        assert_eq!(batches(&[]).count(), 0);
    }
}
