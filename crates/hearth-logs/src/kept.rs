//! What the logs of an account take of the disk, and the room that is made when that is too much.
//!
//! CloudWatch counts 26 bytes for an event besides its text, and that is what a group tells ([`crate::Group::stored_bytes`]).
//! SQLite takes more: a row, and an entry in each of two indexes. So accounts are charged what was measured.

use rusqlite::{Connection, params};

use crate::event::{OVERHEAD_BYTES, Oldest};
use crate::store::LogError;

/// What an event takes besides its text, measured: 70 bytes where events come in the order of their times, and up to 100 where the
/// pages of the indexes are filled by turns (`tests.rs` holds it against the file).
pub(crate) const EVENT_BYTES: i64 = 100;

/// Most events removed in one job: as many of the shortest as have the bytes of the largest batch.
const MAX_REMOVED: i64 = 20_000;

/// What is removed beyond what is needed, so that not each line of a full account looks for the oldest event anew.
const SLACK_BYTES: i64 = 256 << 10;

/// Events that were written or removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Volume {
    pub(crate) events: i64,
    /// Their bytes as CloudWatch counts them.
    pub(crate) stored_bytes: i64,
}

impl Volume {
    /// Counts an event that has so many bytes of text.
    pub(crate) fn add(&mut self, text_bytes: i64) {
        self.events += 1;
        self.stored_bytes += text_bytes + OVERHEAD_BYTES;
    }

    fn kept_bytes(self) -> i64 {
        self.stored_bytes + self.events * (EVENT_BYTES - OVERHEAD_BYTES)
    }
}

/// Charges events to their group and its account.
pub(crate) fn charge(db: &Connection, group_id: i64, volume: Volume) -> Result<(), LogError> {
    db.prepare_cached("UPDATE log_group SET stored_bytes = max(stored_bytes + ?, 0) WHERE id = ?")?
        .execute(params![volume.stored_bytes, group_id])?;
    db.prepare_cached(
        "UPDATE log_account SET kept_bytes = max(kept_bytes + ?, 0)
         WHERE account = (SELECT charged_account FROM log_group WHERE id = ?)",
    )?
    .execute(params![volume.kept_bytes(), group_id])?;
    Ok(())
}

/// Gives back what removed events were charged.
pub(crate) fn give_back(db: &Connection, group_id: i64, volume: Volume) -> Result<(), LogError> {
    let returned = Volume {
        events: -volume.events,
        stored_bytes: -volume.stored_bytes,
    };
    charge(db, group_id, returned)
}

/// Removes the oldest events of an account that takes too much, those of deleted groups first.
///
/// # Errors
///
/// [`LogError::AccountFull`] when it has no events left: then groups and streams alone are too many.
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
    // What is removed later, a slice with each job, is not refused now.
    if limit > 0 && left_bytes > slack_bytes {
        return Err(LogError::AccountFull);
    }
    Ok(())
}

fn kept_bytes(db: &Connection, account: &str) -> Result<i64, LogError> {
    let mut query = db
        .prepare_cached("SELECT coalesce(sum(kept_bytes), 0) FROM log_account WHERE account = ?")?;
    Ok(query.query_row([account], |row| row.get(0))?)
}

/// The group that holds the oldest event of an account. One look into an index for each of its groups, of which there are few.
fn with_oldest_event(db: &Connection, account: &str) -> Result<Option<i64>, LogError> {
    let mut query = db.prepare_cached(
        "SELECT id, account <> '' AS is_live,
                (SELECT min(time_ms) FROM log_event WHERE group_id = log_group.id) AS oldest_ms
         FROM log_group WHERE charged_account = ? AND oldest_ms IS NOT NULL ORDER BY is_live, oldest_ms LIMIT 1",
    )?;
    let mut rows = query.query([account])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

#[cfg(test)]
mod tests;
