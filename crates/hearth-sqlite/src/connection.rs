//! Opening a connection.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// How long SQLite itself waits for a lock. Only a checkpoint or another process could hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that each connection keeps prepared: more than any store has, and some kilobytes each.
const PREPARED_STATEMENTS: usize = 128;

/// A connection to a file that exists.
pub(crate) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Error> {
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(db)
}
