//! The index, as the steps of migrations that [`hearth_sqlite`] runs.

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
