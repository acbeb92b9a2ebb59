//! The index. `user_version` counts its changes.

use rusqlite::Connection;

use crate::store::ObjectError;

/// The steps, in order. A step that was released is never changed.
pub(crate) const STEPS: &[&str] = &[TABLES, BY_BLOB];

const TABLES: &str = "
CREATE TABLE bucket (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (account, name)
);
CREATE TABLE object (
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    blob TEXT NOT NULL,
    PRIMARY KEY (bucket_id, key)
) WITHOUT ROWID;
CREATE TABLE upload (
    id TEXT PRIMARY KEY,
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    key TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE part (
    upload_id TEXT NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    blob TEXT NOT NULL,
    PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;
";

/// Whether a blob is named is asked for each file at the start.
const BY_BLOB: &str = "
CREATE INDEX object_blob ON object (blob);
CREATE INDEX part_blob ON part (blob);
";

/// Prepares a connection and brings an older index to the current schema. An answer to a client
/// means that its object is kept, hence `synchronous = FULL`.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), ObjectError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
    )?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(found)
        .ok()
        .filter(|done| *done <= STEPS.len());
    let done = done.ok_or(ObjectError::UnknownVersion(found))?;
    for (version, step) in (1_i64..).zip(STEPS).skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
