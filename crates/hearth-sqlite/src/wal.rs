//! Limits the size of the write-ahead log.
//!
//! SQLite copies the log into the database every thousand pages. It starts the log anew only if no reader still reads
//! from it, so under constant reads the log would grow without limit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

/// How long the writer waits for readers if the log is too large. New readers read from the database once the whole
/// log is copied, so only an earlier read can delay it.
const PATIENCE: Duration = Duration::from_millis(200);

/// The write-ahead log of one database.
pub(crate) struct Wal {
    path: PathBuf,
    max_bytes: u64,
    /// The size in bytes from which on the log is emptied.
    due_bytes: u64,
}

impl Wal {
    pub(crate) fn of(database: &Path, max_bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        Self {
            path: path.into(),
            max_bytes,
            due_bytes: max_bytes,
        }
    }

    /// Empties the log if it is too large. If a long read prevents that, tries again once the log has grown as much again.
    pub(crate) fn limit(&mut self, db: &Connection) {
        let size_bytes = self.size_bytes();
        if size_bytes < self.due_bytes {
            return;
        }
        if let Err(error) = empty(db) {
            tracing::warn!(%error, path = %self.path.display(), "cannot empty the write-ahead log");
        }
        let left_bytes = self.size_bytes();
        if left_bytes >= self.max_bytes {
            tracing::warn!(
                size_bytes = left_bytes,
                path = %self.path.display(),
                "a long read keeps the write-ahead log from being emptied"
            );
        }
        self.due_bytes = match left_bytes {
            left if left < self.max_bytes => self.max_bytes,
            left => left.saturating_add(self.max_bytes),
        };
    }

    fn size_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }
}

fn empty(db: &Connection) -> rusqlite::Result<()> {
    let usual_ms: u32 = db.pragma_query_value(None, "busy_timeout", |row| row.get(0))?;
    db.busy_timeout(PATIENCE)?;
    // Returns a row whose first column says whether a reader was in the way.
    let emptied = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    db.busy_timeout(Duration::from_millis(usual_ms.into()))?;
    emptied
}
