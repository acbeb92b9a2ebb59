PRAGMA user_version = 1;
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
INSERT INTO log_group VALUES (1, '000000000007', 'eu-1', '/g', 1799999999991, NULL, 83);
INSERT INTO log_group VALUES (2, '000000000007', 'eu-1', '/h', 1799999999992, 7, 0);
INSERT INTO log_stream VALUES (1, 1, 's', 1799999999993, 1799999999995, 1800000000000, 1800000000001);
INSERT INTO log_stream VALUES (2, 1, 't', 1799999999994, NULL, NULL, NULL);
INSERT INTO log_event VALUES (1, 1, 1, 1799999999995, 1800000000001, 'it''s a line');
INSERT INTO log_event VALUES (2, 1, 1, 1800000000000, 1800000000001, 'two
lines, with ''ü''');
