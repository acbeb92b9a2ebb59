//! Removes the oldest events of a group, or of an account that takes too much of the disk.

use rusqlite::{Connection, params};

use crate::disk_bytes::{EVENT_BYTES, Volume, give_back, kept_bytes};
use crate::store::LogError;

/// Most events removed in one job: as many of the shortest events as have the bytes of the largest batch.
const MAX_REMOVED: i64 = 20_000;

/// Bytes removed beyond what is needed, so that not every line of a full account has to remove events again.
const SLACK_BYTES: i64 = 256 << 10;

/// Removes the oldest events of an account that takes too much, those of deleted groups first.
///
/// # Errors
///
/// [`LogError::AccountFull`] if the account has no events left: its groups and streams alone take too much.
pub(crate) fn make_room(
    db: &Connection,
    account: &str,
    max_account_bytes: i64,
) -> Result<(), LogError> {
    let excess_bytes = kept_bytes(db, account)? - max_account_bytes;
    if excess_bytes <= 0 {
        return Ok(());
    }
    let slack_bytes = SLACK_BYTES.min(max_account_bytes / 16);
    let mut left_bytes = excess_bytes + slack_bytes;
    let mut limit = MAX_REMOVED;
    while left_bytes > 0 && limit > 0 {
        let Some(group_id) = with_oldest_event(db, account)? else {
            break;
        };
        let oldest = Oldest {
            group_id,
            before_ms: i64::MAX,
            excess_bytes: left_bytes,
            event_bytes: EVENT_BYTES,
            limit,
        };
        let removed = oldest.remove(db)?;
        left_bytes -= removed.kept_bytes();
        limit -= removed.events;
    }
    // The rest is removed later, a slice with each job. No write is refused for it now.
    if limit > 0 && left_bytes > slack_bytes {
        return Err(LogError::AccountFull);
    }
    Ok(())
}

/// The group with the oldest event of an account. Looks into an index once for each group, of which there are few.
fn with_oldest_event(db: &Connection, account: &str) -> Result<Option<i64>, LogError> {
    let mut query = db.prepare_cached(
        "SELECT id, account <> '' AS is_live,
                (SELECT min(time_ms) FROM log_event WHERE group_id = log_group.id) AS oldest_ms
         FROM log_group WHERE charged_account = ? AND oldest_ms IS NOT NULL ORDER BY is_live, oldest_ms LIMIT 1",
    )?;
    let mut rows = query.query([account])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Which of the oldest events of a group to remove.
pub(crate) struct Oldest {
    pub(crate) group_id: i64,
    /// Only events before this time.
    pub(crate) before_ms: i64,
    /// As many events as have this many bytes together.
    pub(crate) excess_bytes: i64,
    /// Bytes that each event counts for that besides its text.
    pub(crate) event_bytes: i64,
    /// At most this many events.
    pub(crate) limit: i64,
}

impl Oldest {
    /// Removes the events, and returns their number and bytes.
    pub(crate) fn remove(&self, db: &Connection) -> Result<Volume, LogError> {
        let mut oldest = db.prepare_cached(
            "SELECT id, length(CAST(message AS BLOB)) FROM log_event
             WHERE group_id = ? AND time_ms < ? ORDER BY time_ms, id LIMIT ?",
        )?;
        let mut rows = oldest.query(params![self.group_id, self.before_ms, self.limit])?;
        let mut delete = db.prepare_cached("DELETE FROM log_event WHERE id = ?")?;
        let (mut removed, mut removed_bytes) = (Volume::default(), 0);
        while let Some(row) = rows.next()? {
            let (id, text_bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
            delete.execute([id])?;
            removed.add(text_bytes);
            removed_bytes += text_bytes + self.event_bytes;
            if removed_bytes >= self.excess_bytes {
                break;
            }
        }
        give_back(db, self.group_id, removed)?;
        Ok(removed)
    }
}
