//! Reading events as they come. By number and not by time: an event may come later than another that happened after it,
//! and who follows must see both.

use rusqlite::{Connection, OptionalExtension, params};

use crate::event::Event;
use crate::read::{MAX_PAGE_BYTES, event_from_row};
use crate::store::{LogError, LogStore, Owner, group_id, stream_id};

/// Events of all streams that one call looks through. A follower that was held up for long, while others wrote, goes on in steps of
/// some milliseconds.
const MAX_SCANNED: i64 = 50_000;

/// By number, over what came last, and not by the index of the stream, over all that it has (`+`).
const ARRIVED: &str = "SELECT e.id, s.name, e.time_ms, e.ingestion_ms, e.message
     FROM log_event e JOIN log_stream s ON s.id = e.stream_id
     WHERE e.id > ? AND e.id <= ? AND +e.stream_id = ? ORDER BY e.id";

/// What has come to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// In the order in which they came.
    pub events: Vec<Event>,
    /// The number up to which the store was looked through: the next call begins there.
    pub seen: i64,
    /// Whether more had come to the store when this was read.
    pub has_more: bool,
}

impl LogStore {
    /// The number of the newest event that there ever was in the whole store: what comes from here on has a higher one.
    /// Cheap, so that it can be asked often.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn newest(&self) -> Result<i64, LogError> {
        self.read(newest)
    }

    /// The events of a stream with numbers above `after`, at most `limit`. What has come to other streams is looked through
    /// once by those who go on from [`Arrived::seen`].
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::NoStream`] or a database failure.
    pub fn arrived(
        &self,
        owner: &Owner,
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

/// The number of the newest event that there ever was.
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
