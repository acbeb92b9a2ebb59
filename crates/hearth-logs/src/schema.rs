//! The tables. `user_version` counts their changes.

use rusqlite::Connection;

use crate::store::LogError;

const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE log_group (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    retention_days INTEGER,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, region, name)
);
CREATE TABLE log_stream (
    id INTEGER PRIMARY KEY,
    group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    first_event_ms INTEGER,
    last_event_ms INTEGER,
    last_ingestion_ms INTEGER,
    UNIQUE (group_id, name)
);
CREATE TABLE log_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    stream_id INTEGER NOT NULL REFERENCES log_stream (id) ON DELETE CASCADE,
    time_ms INTEGER NOT NULL,
    ingestion_ms INTEGER NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX log_event_by_group ON log_event (group_id, time_ms, id);
CREATE INDEX log_event_by_stream ON log_event (stream_id, time_ms, id);
";

/// Prepares a connection and brings an empty database to the current schema.
pub(crate) fn prepare(connection: &Connection) -> Result<(), LogError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
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
        other => Err(LogError::UnknownVersion(other)),
    }
}
