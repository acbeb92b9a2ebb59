PRAGMA user_version = 4;
CREATE TABLE bucket (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL, settings TEXT NOT NULL DEFAULT '{}',
    UNIQUE (account, name)
);
CREATE TABLE object (
    bucket_id INTEGER NOT NULL REFERENCES bucket (id),
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    blob TEXT NOT NULL, joined TEXT NOT NULL DEFAULT '',
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
    blob TEXT NOT NULL, checksum TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;
CREATE INDEX object_blob ON object (blob);
CREATE INDEX part_blob ON part (blob);
CREATE TABLE account (
    account TEXT PRIMARY KEY,
    kept_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX upload_by_key ON upload (bucket_id, key, id);
INSERT INTO bucket VALUES (1, '000000000007', 'b', 1800000000000, '{}');
INSERT INTO object VALUES (1, 'plain', 5, 'tag-plain', 1800000000001, '{"headers":{},"metadata":{}}', 'aa000000000040008000000000000001', '');
INSERT INTO object VALUES (1, 'told', 5, 'tag-told', 1800000000001, '{"headers":{"content-type":"text/plain; charset=\"utf-8\"","x-amz-checksum-crc32":"AAAAAA=="},"metadata":{"owner":"it''s ü"}}', 'aa000000000040008000000000000002', '');
INSERT INTO upload VALUES ('bb000000000040008000000000000001', 1, 'up/load', '{"headers":{"content-type":"text/plain; charset=\"utf-8\"","x-amz-checksum-crc32":"AAAAAA=="},"metadata":{"owner":"it''s ü"}}', 1800000000002);
INSERT INTO part VALUES ('bb000000000040008000000000000001', 1, 5, 'tag-part', 1800000000003, 'aa000000000040008000000000000003', '');
INSERT INTO account VALUES ('000000000007', 33061);
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
