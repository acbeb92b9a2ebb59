//! The records: the database with what all files ask of it.

use hearth_sqlite::Database;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::FunctionError;
use crate::owner::Owner;

/// The database.
#[derive(Debug)]
pub(crate) struct Records(pub(crate) Database);

impl Records {
    /// Runs a job that writes, atomically. The job may run more than once.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        job: impl FnMut(&Connection) -> Result<T, FunctionError> + Send + 'static,
    ) -> Result<T, FunctionError> {
        self.0.blocking_write(job)
    }

    /// Runs a query, which sees one commit.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, FunctionError>,
    ) -> Result<T, FunctionError> {
        self.0.blocking_read(query)
    }
}

/// The id of a function of this owner.
pub(crate) fn find_function(
    db: &Connection,
    owner: &Owner,
    name: &str,
) -> Result<Option<i64>, FunctionError> {
    let mut find =
        db.prepare_cached("SELECT id FROM function WHERE account = ? AND region = ? AND name = ?")?;
    let row = find.query_row(params![owner.account, owner.region, name], |row| row.get(0));
    Ok(row.optional()?)
}

/// The id of a function of this owner, or the refusal that names its ARN.
pub(crate) fn function_id(
    db: &Connection,
    owner: &Owner,
    name: &str,
) -> Result<i64, FunctionError> {
    find_function(db, owner, name)?
        .ok_or_else(|| FunctionError::NoFunction(owner.function_arn(name)))
}

/// Takes the next number of a function or layer. A number is never given again, not even after a deletion.
pub(crate) fn next_number(
    db: &Connection,
    owner: &Owner,
    kind: &str,
    name: &str,
) -> Result<u32, FunctionError> {
    let number = db
        .prepare_cached(
            "INSERT INTO counter VALUES (?, ?, ?, ?, 1)
             ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
        )?
        .query_row(params![owner.account, owner.region, kind, name], |row| {
            row.get(0)
        })?;
    Ok(number)
}

/// Whether an insertion failed because the row exists already.
pub(crate) fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

/// A new revision id.
pub(crate) fn new_revision() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A size in the type of SQLite.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A size from the type of SQLite.
pub(crate) fn unsigned(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

/// Removes what belongs to a version or an alias that is gone.
pub(crate) fn forget_qualifier(
    db: &Connection,
    id: i64,
    qualifier: &str,
) -> Result<(), FunctionError> {
    for table in ["policy", "event_invoke"] {
        db.execute(
            &format!("DELETE FROM {table} WHERE function_id = ? AND qualifier = ?"),
            params![id, qualifier],
        )?;
    }
    Ok(())
}
