//! Reading events as they come. By number and not by time: an event may come later than another that happened after it,
//! and who follows must see both.

use rusqlite::{OptionalExtension, params};

use crate::event::Event;
use crate::read::{MAX_PAGE_BYTES, event_from_row};
use crate::store::{LogError, LogStore, Owner, group_id, stream_id};

impl LogStore {
    /// The number of the newest event that there ever was in the whole store: what comes from here on has a higher one.
    /// Cheap, so that it can be asked often.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn newest(&self) -> Result<i64, LogError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'log_event'")?;
            let newest = statement.query_row([], |row| row.get(0)).optional()?;
            Ok(newest.unwrap_or_default())
        })
    }

    /// The events of a stream with numbers above `after`, in the order in which they came, at most `limit`. The
    /// last one's number is where the next page begins.
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
    ) -> Result<Vec<Event>, LogError> {
        self.read(|connection| {
            let group_id = group_id(connection, owner, group)?;
            let stream_id = stream_id(connection, group_id, stream)?;
            // `+`: by number, over the few that came last, and not by the index of the stream, over all that it has.
            let mut statement = connection.prepare_cached(
                "SELECT e.id, s.name, e.time_ms, e.ingestion_ms, e.message
             FROM log_event e JOIN log_stream s ON s.id = e.stream_id
             WHERE e.id > ? AND +e.stream_id = ? ORDER BY e.id",
            )?;
            let mut rows = statement.query(params![after, stream_id])?;
            let (mut events, mut bytes) = (Vec::new(), 0);
            while events.len() < limit
                && bytes < MAX_PAGE_BYTES
                && let Some(row) = rows.next()?
            {
                let event = event_from_row(row)?;
                bytes += event.message.len();
                events.push(event);
            }
            Ok(events)
        })
    }
}
