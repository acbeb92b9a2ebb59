PRAGMA user_version = 3;
CREATE TABLE log_group (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    retention_days INTEGER,
    stored_bytes INTEGER NOT NULL DEFAULT 0, charged_account TEXT NOT NULL DEFAULT '',
    UNIQUE (account, region, name)
);
CREATE TABLE log_stream (
    id INTEGER PRIMARY KEY,
    group_id INTEGER NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    first_event_ms INTEGER,
    last_event_ms INTEGER,
    last_ingestion_ms INTEGER, is_removed INTEGER NOT NULL DEFAULT 0,
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
CREATE INDEX log_stream_removed ON log_stream (id) WHERE is_removed;
CREATE TABLE log_account (
    account TEXT PRIMARY KEY,
    kept_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX log_group_charged ON log_group (charged_account);
INSERT INTO log_group VALUES (1, '000000000007', 'eu-1', '/g', 1799999999991, NULL, 83, '000000000007');
INSERT INTO log_group VALUES (2, '000000000007', 'eu-1', '/h', 1799999999992, 7, 0, '000000000007');
INSERT INTO log_stream VALUES (1, 1, 's', 1799999999993, 1799999999995, 1800000000000, 1800000000001, 0);
INSERT INTO log_stream VALUES (2, 1, 't', 1799999999994, NULL, NULL, NULL, 0);
INSERT INTO log_event VALUES (1, 1, 1, 1799999999995, 1800000000001, 'it''s a line');
INSERT INTO log_event VALUES (2, 1, 1, 1800000000000, 1800000000001, 'two
lines, with ''ü''');
INSERT INTO log_account VALUES ('000000000007', 5031);
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
