//! Writes the logs of functions into the log store.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_invoke::{LogPlace, LogRecord, Logs};
use hearth_logs::{LogError, LogOwner, LogStore, MAX_BATCH_BYTES, NewEvent};

/// Bytes that an event counts beside its text (CloudWatch Logs).
const EVENT_OVERHEAD_BYTES: usize = 26;

/// The log store, for functions.
pub struct FunctionLogs(Arc<LogStore>);

impl FunctionLogs {
    /// Writes into this store.
    #[must_use]
    pub fn new(store: Arc<LogStore>) -> Self {
        Self(store)
    }

    async fn append(
        &self,
        owner: &LogOwner,
        place: &LogPlace,
        events: &[NewEvent],
    ) -> Result<(), LogError> {
        let store = &self.0;
        let (group, stream) = (&place.group, &place.stream);
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let appended = store.append_async(owner, group, stream, events, now_ms);
        match appended.await {
            Err(LogError::NoGroup | LogError::NoStream) => {
                let ensured = store.ensure_stream_async(owner, group, stream, now_ms);
                ensured.await?;
                let appended = store.append_async(owner, group, stream, events, now_ms);
                appended.await.map(drop)
            }
            appended => appended.map(drop),
        }
    }
}

#[async_trait]
impl Logs for FunctionLogs {
    async fn write(&self, place: &LogPlace, records: Vec<LogRecord>) {
        let owner = LogOwner {
            account: place.account.clone(),
            region: place.region.clone(),
        };
        let events = records.into_iter().map(|record| NewEvent {
            time_ms: record.time_ms,
            message: record.text,
        });
        let mut events: Vec<NewEvent> = events.filter(|event| !event.message.is_empty()).collect();
        // The wall clock may have been set back between two records.
        events.sort_by_key(|event| event.time_ms);
        for batch in batches(&events) {
            let wait = self.0.wait_of(&place.account);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            if let Err(error) = self.append(&owner, place, batch).await {
                tracing::warn!(%error, group = place.group, "a function's log was lost");
                return;
            }
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
