//! Removes events past the retention of their group, and the events of deleted groups and streams, in slices.
//!
//! A slice is one short job of the writer. Between two slices, waiting appends go first.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use crate::disk_bytes::{OVERHEAD_BYTES, Volume, give_back};
use crate::event::DAY_MS;
use crate::oldest::Oldest;
use crate::schema::REMOVED_OWNER;
use crate::store::{LogError, LogStore};

/// Events (or empty streams) removed in one job: some ten milliseconds of work.
const SLICE: i64 = 2000;

/// How long a deletion removes events itself before it leaves the rest to [`LogStore::sweep`]: enough for some
/// hundred thousand events, and well below the timeouts of clients.
const DELETION_TIME: Duration = Duration::from_secs(2);

/// Longest pause between two slices of a deletion.
const MAX_PAUSE: Duration = Duration::from_millis(100);

impl LogStore {
    /// Removes one slice of the events that are past the retention of their groups or belong to something deleted.
    /// Returns the number of rows removed. Call it with pauses until it returns 0.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn sweep(&self, now_ms: i64) -> Result<usize, LogError> {
        match self.remove_slice()? {
            0 => self.expire_slice(now_ms),
            removed => Ok(removed),
        }
    }

    /// Begins to remove what was deleted. Leaves the rest to [`LogStore::sweep`] if it takes long.
    pub(crate) fn begin_removal(&self) -> Result<(), LogError> {
        let begun = Instant::now();
        while begun.elapsed() < DELETION_TIME {
            let slice = Instant::now();
            if self.remove_slice()? == 0 {
                break;
            }
            // A pause as long as the slice took, for appends that wait.
            std::thread::sleep(slice.elapsed().min(MAX_PAUSE));
        }
        Ok(())
    }

    /// Removes a slice of events past their retention.
    fn expire_slice(&self, now_ms: i64) -> Result<usize, LogError> {
        self.write(move |db| expire(db, now_ms))
    }

    /// Removes a slice of a deleted group or stream, and its own row once it is empty.
    fn remove_slice(&self) -> Result<usize, LogError> {
        self.write(|db| match removed_group(db)? {
            Some(group_id) => slice_of_group(db, group_id),
            None => match removed_stream(db)? {
                Some((stream_id, group_id)) => slice_of_stream(db, stream_id, group_id),
                None => Ok(0),
            },
        })
    }
}

fn expire(db: &Connection, now_ms: i64) -> Result<usize, LogError> {
    let expiring: Vec<(i64, i64)> = db
        .prepare_cached(
            "SELECT id, retention_days FROM log_group WHERE retention_days IS NOT NULL",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut removed = 0;
    for (group_id, days) in expiring {
        let limit = SLICE - i64::try_from(removed).unwrap_or(SLICE);
        if limit <= 0 {
            break;
        }
        let oldest = Oldest {
            group_id,
            before_ms: now_ms.saturating_sub(days * DAY_MS),
            excess_bytes: i64::MAX,
            event_bytes: OVERHEAD_BYTES,
            limit,
        };
        removed += usize::try_from(oldest.remove(db)?.events).unwrap_or_default();
    }
    Ok(removed)
}

fn removed_group(db: &Connection) -> Result<Option<i64>, LogError> {
    let mut query = db.prepare_cached("SELECT id FROM log_group WHERE account = ? LIMIT 1")?;
    Ok(query
        .query_row([REMOVED_OWNER], |row| row.get(0))
        .optional()?)
}

fn removed_stream(db: &Connection) -> Result<Option<(i64, i64)>, LogError> {
    let mut query =
        db.prepare_cached("SELECT id, group_id FROM log_stream WHERE is_removed LIMIT 1")?;
    let found = query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

/// Events first, then streams, then the group, so that no cascade has much to remove at once.
fn slice_of_group(db: &Connection, group_id: i64) -> Result<usize, LogError> {
    let events = db
        .prepare_cached(
            "SELECT id, length(CAST(message AS BLOB)) FROM log_event WHERE group_id = ? LIMIT ?",
        )?
        .query_map(params![group_id, SLICE], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    if !events.is_empty() {
        return remove_events(db, group_id, &events);
    }
    let streams = db
        .prepare_cached(
            "DELETE FROM log_stream WHERE id IN (SELECT id FROM log_stream WHERE group_id = ? LIMIT ?)",
        )?
        .execute(params![group_id, SLICE])?;
    if streams > 0 {
        return Ok(streams);
    }
    Ok(db.execute("DELETE FROM log_group WHERE id = ?", [group_id])?)
}

fn slice_of_stream(db: &Connection, stream_id: i64, group_id: i64) -> Result<usize, LogError> {
    let events = db
        .prepare_cached(
            "SELECT id, length(CAST(message AS BLOB)) FROM log_event WHERE stream_id = ? LIMIT ?",
        )?
        .query_map(params![stream_id, SLICE], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    if events.is_empty() {
        return Ok(db.execute("DELETE FROM log_stream WHERE id = ?", [stream_id])?);
    }
    remove_events(db, group_id, &events)
}

/// Removes events of a group, each given with the bytes of its text. Returns the number of events removed.
fn remove_events(db: &Connection, group_id: i64, events: &[(i64, i64)]) -> Result<usize, LogError> {
    let mut delete = db.prepare_cached("DELETE FROM log_event WHERE id = ?")?;
    let mut removed = Volume::default();
    for (id, text_bytes) in events {
        delete.execute([id])?;
        removed.add(*text_bytes);
    }
    give_back(db, group_id, removed)?;
    Ok(events.len())
}

#[cfg(test)]
mod tests;
