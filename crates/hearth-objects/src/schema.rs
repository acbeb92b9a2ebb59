//! The index, as migration steps for [`hearth_sqlite`].

/// The migration steps, in order. A released step is never changed.
pub(crate) const STEPS: &[&str] = &[TABLES, BY_BLOB, ACCOUNTS];

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

/// At the start, each file is looked up by this index.
const BY_BLOB: &str = "
CREATE INDEX object_blob ON object (blob);
CREATE INDEX part_blob ON part (blob);
";

/// The bytes that each account takes on disk, counted in the transactions that change them. A file takes whole blocks
/// and an inode, and its row repeats its key: 8192 bytes besides its own. Each of several objects that share a blob
/// is charged as if it had one of its own. A part is removed before its upload, because the upload's row has the
/// account.
const ACCOUNTS: &str = "
CREATE TABLE account (
    account TEXT PRIMARY KEY,
    kept_bytes INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO account
SELECT account, sum(bytes) FROM (
    SELECT bucket_id, 8192 + size + length(CAST(attributes AS BLOB)) AS bytes FROM object
    UNION ALL SELECT bucket_id, 8192 + length(CAST(attributes AS BLOB)) FROM upload
    UNION ALL SELECT bucket_id, 8192 + size FROM part JOIN upload ON upload.id = upload_id
    UNION ALL SELECT id, 0 FROM bucket
) JOIN bucket ON bucket.id = bucket_id GROUP BY account;
CREATE TRIGGER bucket_made AFTER INSERT ON bucket BEGIN
    INSERT OR IGNORE INTO account VALUES (NEW.account, 0);
END;
CREATE TRIGGER object_made AFTER INSERT ON object BEGIN
    UPDATE account SET kept_bytes = kept_bytes + 8192 + NEW.size + length(CAST(NEW.attributes AS BLOB))
    WHERE account = (SELECT account FROM bucket WHERE id = NEW.bucket_id);
END;
CREATE TRIGGER object_replaced AFTER UPDATE ON object BEGIN
    UPDATE account SET kept_bytes = kept_bytes + NEW.size + length(CAST(NEW.attributes AS BLOB))
        - OLD.size - length(CAST(OLD.attributes AS BLOB))
    WHERE account = (SELECT account FROM bucket WHERE id = NEW.bucket_id);
END;
CREATE TRIGGER object_removed AFTER DELETE ON object BEGIN
    UPDATE account SET kept_bytes = kept_bytes - 8192 - OLD.size - length(CAST(OLD.attributes AS BLOB))
    WHERE account = (SELECT account FROM bucket WHERE id = OLD.bucket_id);
END;
CREATE TRIGGER upload_made AFTER INSERT ON upload BEGIN
    UPDATE account SET kept_bytes = kept_bytes + 8192 + length(CAST(NEW.attributes AS BLOB))
    WHERE account = (SELECT account FROM bucket WHERE id = NEW.bucket_id);
END;
CREATE TRIGGER upload_removed AFTER DELETE ON upload BEGIN
    UPDATE account SET kept_bytes = kept_bytes - 8192 - length(CAST(OLD.attributes AS BLOB))
    WHERE account = (SELECT account FROM bucket WHERE id = OLD.bucket_id);
END;
CREATE TRIGGER part_made AFTER INSERT ON part BEGIN
    UPDATE account SET kept_bytes = kept_bytes + 8192 + NEW.size
    WHERE account = (SELECT account FROM bucket JOIN upload ON bucket_id = bucket.id WHERE upload.id = NEW.upload_id);
END;
CREATE TRIGGER part_replaced AFTER UPDATE ON part BEGIN
    UPDATE account SET kept_bytes = kept_bytes + NEW.size - OLD.size
    WHERE account = (SELECT account FROM bucket JOIN upload ON bucket_id = bucket.id WHERE upload.id = NEW.upload_id);
END;
CREATE TRIGGER part_removed AFTER DELETE ON part BEGIN
    UPDATE account SET kept_bytes = kept_bytes - 8192 - OLD.size
    WHERE account = (SELECT account FROM bucket JOIN upload ON bucket_id = bucket.id WHERE upload.id = OLD.upload_id);
END;
";
