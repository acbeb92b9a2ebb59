//! Counts the bytes that the logs of an account take on disk.
//!
//! CloudWatch Logs counts 26 bytes for an event besides its text, and a group reports that count
//! ([`crate::Group::stored_bytes`]). SQLite takes more: a row, and an entry in each of two indexes. So accounts are
//! charged a measured size.

use rusqlite::{Connection, params};

use crate::store::LogError;

/// Bytes that an event counts besides its text.
pub(crate) const OVERHEAD_BYTES: i64 = 26;

/// Bytes that an event takes on disk besides its text. Measured: 70 bytes if events arrive ordered by time, and up to
/// 100 if the pages of the indexes are filled in turn (`tests.rs` compares the constant with the file).
pub(crate) const EVENT_BYTES: i64 = 100;

/// Events that were written or removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Volume {
    pub(crate) events: i64,
    /// Their bytes as CloudWatch Logs counts them.
    pub(crate) stored_bytes: i64,
}

impl Volume {
    /// Adds an event with this many bytes of text.
    pub(crate) fn add(&mut self, text_bytes: i64) {
        self.events += 1;
        self.stored_bytes += text_bytes + OVERHEAD_BYTES;
    }

    pub(crate) fn kept_bytes(self) -> i64 {
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

/// Takes back the charge of removed events.
pub(crate) fn give_back(db: &Connection, group_id: i64, volume: Volume) -> Result<(), LogError> {
    let returned = Volume {
        events: -volume.events,
        stored_bytes: -volume.stored_bytes,
    };
    charge(db, group_id, returned)
}

/// The bytes that an account is charged.
pub(crate) fn kept_bytes(db: &Connection, account: &str) -> Result<i64, LogError> {
    let mut query = db
        .prepare_cached("SELECT coalesce(sum(kept_bytes), 0) FROM log_account WHERE account = ?")?;
    Ok(query.query_row([account], |row| row.get(0))?)
}

#[cfg(test)]
mod tests;
