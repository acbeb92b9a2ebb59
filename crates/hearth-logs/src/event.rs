//! Writes events, and removes the oldest ones of a group that has too many.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::disk_bytes::{OVERHEAD_BYTES, Volume, charge};
use crate::limits::LogLimits;
use crate::oldest::{Oldest, make_room};
use crate::store::{LogError, LogOwner, LogStore, group_id, stream_id};

/// Most events of one batch (CloudWatch Logs quota).
pub const MAX_BATCH_EVENTS: usize = 10_000;

/// Most bytes of one batch, where each event counts 26 bytes besides its text (CloudWatch Logs quota).
pub const MAX_BATCH_BYTES: usize = 1_048_576;

/// Most bytes of the text of one event: a batch may be that one.
pub const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES - OVERHEAD_BYTES as usize;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Events older than this are refused.
const MAX_AGE_MS: i64 = 14 * DAY_MS;

/// Events further in the future than this are refused.
const MAX_LEAD_MS: i64 = 2 * 60 * 60 * 1000;

/// Events removed in one job if a group is over its limit.
const EVICTION_EVENTS: i64 = 10_000;

/// An event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// When the event happened, in milliseconds since 1970.
    pub time_ms: i64,
    /// The text of the event.
    pub message: String,
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// The number of the event, unique in the store and growing.
    pub id: i64,
    /// The name of its stream.
    pub stream: String,
    /// When the event happened, in milliseconds since 1970.
    pub time_ms: i64,
    /// When the event was written, in milliseconds since 1970.
    pub ingestion_ms: i64,
    /// The text of the event.
    pub message: String,
}

/// Which events of a batch were accepted: those in `[too_old_end, too_new_start)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Events before this index were too old.
    pub too_old_end: usize,
    /// Events from this index on were too far in the future.
    pub too_new_start: usize,
    /// The number of events in the batch.
    pub total: usize,
}

impl Accepted {
    fn of(events: &[NewEvent], now_ms: i64) -> Self {
        Self {
            too_old_end: events.partition_point(|event| event.time_ms < now_ms - MAX_AGE_MS),
            too_new_start: events.partition_point(|event| event.time_ms <= now_ms + MAX_LEAD_MS),
            total: events.len(),
        }
    }
}

fn check_batch(events: &[NewEvent]) -> Result<(), LogError> {
    if !events.is_sorted_by_key(|event| event.time_ms) {
        return Err(LogError::NotChronological);
    }
    let overhead = usize::try_from(OVERHEAD_BYTES).unwrap_or_default();
    let bytes: usize = events
        .iter()
        .map(|event| event.message.len() + overhead)
        .sum();
    let span_ms = match (events.first(), events.last()) {
        (Some(first), Some(last)) => last.time_ms.saturating_sub(first.time_ms),
        _ => 0,
    };
    if events.len() > MAX_BATCH_EVENTS || bytes > MAX_BATCH_BYTES || span_ms > DAY_MS {
        return Err(LogError::BatchTooLarge);
    }
    Ok(())
}

impl LogStore {
    /// How long the account has to wait until it may write again: zero if it may now.
    #[must_use]
    pub fn wait_of(&self, account: &str) -> Duration {
        let per_second = self.limits.of(account).events_per_second;
        self.rates.wait(account, per_second, Instant::now())
    }

    /// Appends a batch to a stream. If group or account have too many bytes then, the oldest events are removed.
    ///
    /// # Errors
    ///
    /// [`LogError::TooFast`], [`LogError::NoGroup`], [`LogError::NoStream`], [`LogError::NotChronological`],
    /// [`LogError::BatchTooLarge`], [`LogError::AccountFull`] or a database failure. Nothing is written then.
    pub fn append(
        &self,
        owner: &LogOwner,
        group: &str,
        stream: &str,
        events: &[NewEvent],
        now_ms: i64,
    ) -> Result<Accepted, LogError> {
        let wait = self.wait_of(&owner.account);
        if !wait.is_zero() {
            return Err(LogError::TooFast(wait));
        }
        let (accepted, batch) = Batch::new(owner, group, stream, events, now_ms)?;
        let limits = self.charged(owner, events);
        self.write(move |db| batch.write(db, &limits))?;
        Ok(accepted)
    }

    /// Appends a batch as [`LogStore::append`] does, without blocking a thread. A batch of an account that has to wait
    /// is not refused: who calls this has the events already, and asks [`LogStore::wait_of`] before it takes more.
    ///
    /// # Errors
    ///
    /// As [`LogStore::append`], but never [`LogError::TooFast`].
    pub async fn append_async(
        &self,
        owner: &LogOwner,
        group: &str,
        stream: &str,
        events: &[NewEvent],
        now_ms: i64,
    ) -> Result<Accepted, LogError> {
        let (accepted, batch) = Batch::new(owner, group, stream, events, now_ms)?;
        let limits = self.charged(owner, events);
        self.write_async(move |db| batch.write(db, &limits)).await?;
        Ok(accepted)
    }

    /// Charges events to the rate of their account. Answers the limits for the job that writes them.
    fn charged(&self, owner: &LogOwner, events: &[NewEvent]) -> LogLimits {
        let per_second = self.limits.of(&owner.account).events_per_second;
        self.rates
            .charge(&owner.account, per_second, worth(events), Instant::now());
        self.limits.clone()
    }
}

/// What events count against the rate: one each, and one more for each KiB of text, as the writer copies that.
pub(crate) fn worth(events: &[NewEvent]) -> usize {
    events
        .iter()
        .map(|event| 1 + event.message.len() / 1024)
        .sum()
}

/// Events on their way to the writer.
struct Batch {
    owner: LogOwner,
    group: String,
    stream: String,
    events: Vec<NewEvent>,
    now_ms: i64,
}

impl Batch {
    /// A batch of the accepted events.
    fn new(
        owner: &LogOwner,
        group: &str,
        stream: &str,
        events: &[NewEvent],
        now_ms: i64,
    ) -> Result<(Accepted, Self), LogError> {
        check_batch(events)?;
        let accepted = Accepted::of(events, now_ms);
        let taken = events.get(accepted.too_old_end..accepted.too_new_start);
        let batch = Self {
            owner: owner.clone(),
            group: group.to_owned(),
            stream: stream.to_owned(),
            events: taken.unwrap_or_default().to_vec(),
            now_ms,
        };
        Ok((accepted, batch))
    }

    fn write(&self, db: &Connection, limits: &LogLimits) -> Result<(), LogError> {
        let group_id = group_id(db, &self.owner, &self.group)?;
        let stream_id = stream_id(db, group_id, &self.stream)?;
        insert(db, group_id, stream_id, &self.events, self.now_ms)?;
        evict(db, group_id, limits.max_group_bytes)?;
        make_room(
            db,
            &self.owner.account,
            limits.bytes_of(&self.owner.account),
        )
    }
}

/// Removes the oldest events of a group that has too many bytes.
fn evict(db: &Connection, group_id: i64, max_group_bytes: i64) -> Result<(), LogError> {
    let stored_bytes: i64 = db
        .prepare_cached("SELECT stored_bytes FROM log_group WHERE id = ?")?
        .query_row([group_id], |row| row.get(0))?;
    let excess_bytes = stored_bytes - max_group_bytes;
    if excess_bytes > 0 {
        let oldest = Oldest {
            group_id,
            before_ms: i64::MAX,
            excess_bytes,
            event_bytes: OVERHEAD_BYTES,
            limit: EVICTION_EVENTS,
        };
        oldest.remove(db)?;
    }
    Ok(())
}

fn insert(
    db: &Connection,
    group_id: i64,
    stream_id: i64,
    events: &[NewEvent],
    now_ms: i64,
) -> Result<(), LogError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(());
    };
    let mut statement = db.prepare_cached(
        "INSERT INTO log_event (group_id, stream_id, time_ms, ingestion_ms, message)
         VALUES (?, ?, ?, ?, ?)",
    )?;
    let mut volume = Volume::default();
    for event in events {
        statement.execute(params![
            group_id,
            stream_id,
            event.time_ms,
            now_ms,
            event.message
        ])?;
        volume.add(i64::try_from(event.message.len()).unwrap_or(i64::MAX));
    }
    charge(db, group_id, volume)?;
    db.prepare_cached(
        "UPDATE log_stream SET first_event_ms = min(coalesce(first_event_ms, ?1), ?1),
               last_event_ms = max(coalesce(last_event_ms, ?2), ?2), last_ingestion_ms = ?3
             WHERE id = ?4",
    )?
    .execute(params![first.time_ms, last.time_ms, now_ms, stream_id])?;
    Ok(())
}
