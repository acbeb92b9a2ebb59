//! The index. `user_version` counts its changes.

use rusqlite::Connection;

use crate::store::ObjectError;

const VERSION: i64 = 1;

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

/// Prepares a connection and brings an empty index to the current schema. An answer to a client
/// means that its object is kept, hence `synchronous = FULL`.
pub(crate) fn prepare(connection: &Connection) -> Result<(), ObjectError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
    )?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        VERSION => Ok(()),
        0 => {
            connection.execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
            Ok(())
        }
        other => Err(ObjectError::UnknownVersion(other)),
    }
}
