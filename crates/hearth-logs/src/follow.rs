//! Reads events as they arrive: by number, not by time. An event may arrive later than another one that happened
//! after it, and a follower must see both.

use rusqlite::{Connection, OptionalExtension, params};

use crate::event::LogEvent;
use crate::read::{MAX_PAGE_BYTES, event_from_row};
use crate::store::{LogError, LogOwner, LogStore, group_id, stream_id};

/// Events of all streams that one call looks through. A follower that is far behind, while others wrote, continues in
/// steps of some milliseconds.
const MAX_SCANNED: i64 = 50_000;

/// By number, over the newest events of all streams. The `+` keeps SQLite from using the index of the stream, over
/// all its events.
const ARRIVED: &str = "SELECT e.id, s.name, e.time_ms, e.ingestion_ms, e.message
     FROM log_event e JOIN log_stream s ON s.id = e.stream_id
     WHERE e.id > ? AND e.id <= ? AND +e.stream_id = ? ORDER BY e.id";

/// New events of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The events, in the order of arrival.
    pub events: Vec<LogEvent>,
    /// The number up to which the store was looked through. The next call begins there.
    pub seen: i64,
    /// Whether the store had more new events when this was read.
    pub has_more: bool,
}

impl LogStore {
    /// The number of the newest event that was ever in the store. Events that arrive later have higher numbers. Cheap
    /// enough to be called often.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn newest(&self) -> Result<i64, LogError> {
        self.read(newest)
    }

    /// Returns the events of a stream with numbers above `after`, at most `limit`. A caller that continues from
    /// [`Arrived::seen`] does not look through the same events of other streams again.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::NoStream`] or a database failure.
    pub fn arrived(
        &self,
        owner: &LogOwner,
        group: &str,
        stream: &str,
        after: i64,
        limit: usize,
    ) -> Result<Arrived, LogError> {
        self.read(|db| {
            let group_id = group_id(db, owner, group)?;
            let stream_id = stream_id(db, group_id, stream)?;
            arrived(db, stream_id, after, limit)
        })
    }
}

/// The number of the newest event that was ever in the store.
fn newest(db: &Connection) -> Result<i64, LogError> {
    let mut query =
        db.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'log_event'")?;
    let newest = query.query_row([], |row| row.get(0)).optional()?;
    Ok(newest.unwrap_or_default())
}

fn arrived(db: &Connection, stream_id: i64, after: i64, limit: usize) -> Result<Arrived, LogError> {
    let newest = newest(db)?;
    let end = newest.min(after.saturating_add(MAX_SCANNED));
    let mut statement = db.prepare_cached(ARRIVED)?;
    let mut rows = statement.query(params![after, end, stream_id])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut seen = end;
    while let Some(row) = rows.next()? {
        let event = event_from_row(row)?;
        bytes += event.message.len();
        let id = event.id;
        events.push(event);
        if events.len() >= limit || bytes >= MAX_PAGE_BYTES {
            seen = id;
            break;
        }
    }
    Ok(Arrived {
        events,
        seen: seen.max(after),
        has_more: seen < newest,
    })
}

#[cfg(test)]
mod tests;
