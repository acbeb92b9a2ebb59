//! The tables, as the steps of migrations that [`hearth_sqlite`] runs.
//!
//! Removing a group or a stream with many events takes seconds, so its row is first made invisible and its events go
//! in slices ([`crate::sweep`]): a removed group belongs to the owner [`REMOVED_OWNER`], a removed stream has `is_removed`
//! set. Both get a name that nothing else can have.

/// The account of groups that are being removed. No account has an empty name.
pub(crate) const REMOVED_OWNER: &str = "";

/// The steps, in order. A step that was released is never changed.
pub(crate) const STEPS: &[&str] = &[FIRST, REMOVED_STREAMS];

const FIRST: &str = "
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

const REMOVED_STREAMS: &str = "
ALTER TABLE log_stream ADD COLUMN is_removed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX log_stream_removed ON log_stream (id) WHERE is_removed;
";
