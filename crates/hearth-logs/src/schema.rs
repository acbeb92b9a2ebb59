//! The tables, as migration steps for [`hearth_sqlite`].
//!
//! Removing a group or stream with many events takes seconds. So its row is made invisible first, and its events are
//! removed in slices ([`crate::sweep`]): a removed group belongs to the owner [`REMOVED_OWNER`], a removed stream has
//! `is_removed` set. Both get a name that nothing else can have. Their bytes are charged to their account until they
//! are gone ([`crate::disk_bytes`]).

/// The account of groups that are being removed. No account has an empty name.
pub(crate) const REMOVED_OWNER: &str = "";

/// The migration steps, in order. A released step is never changed.
pub(crate) const STEPS: &[&str] = &[FIRST, REMOVED_STREAMS, ACCOUNTS];

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

/// The bytes that the groups of each account take on disk. Groups and streams are few, so triggers count them. Events
/// are counted per batch. A name takes at most 1200 bytes: a row and an index entry, with 512 characters each. An
/// event takes [`crate::disk_bytes::EVENT_BYTES`], of which `stored_bytes` has 26.
const ACCOUNTS: &str = "
CREATE TABLE log_account (
    account TEXT PRIMARY KEY,
    kept_bytes INTEGER NOT NULL
) WITHOUT ROWID;
ALTER TABLE log_group ADD COLUMN charged_account TEXT NOT NULL DEFAULT '';
UPDATE log_group SET charged_account = account;
INSERT INTO log_account
SELECT charged_account, sum(
    1200 + stored_bytes
    + 74 * (SELECT count(*) FROM log_event WHERE group_id = log_group.id)
    + 1200 * (SELECT count(*) FROM log_stream WHERE group_id = log_group.id)
) FROM log_group GROUP BY charged_account;
CREATE INDEX log_group_charged ON log_group (charged_account);
CREATE TRIGGER log_group_counted AFTER INSERT ON log_group BEGIN
    INSERT INTO log_account VALUES (NEW.charged_account, 1200)
    ON CONFLICT (account) DO UPDATE SET kept_bytes = kept_bytes + 1200;
END;
CREATE TRIGGER log_group_uncounted AFTER DELETE ON log_group BEGIN
    UPDATE log_account SET kept_bytes = max(kept_bytes - 1200, 0) WHERE account = OLD.charged_account;
END;
CREATE TRIGGER log_stream_counted AFTER INSERT ON log_stream BEGIN
    UPDATE log_account SET kept_bytes = kept_bytes + 1200
    WHERE account = (SELECT charged_account FROM log_group WHERE id = NEW.group_id);
END;
CREATE TRIGGER log_stream_uncounted AFTER DELETE ON log_stream BEGIN
    UPDATE log_account SET kept_bytes = max(kept_bytes - 1200, 0)
    WHERE account = (SELECT charged_account FROM log_group WHERE id = OLD.group_id);
END;
";
