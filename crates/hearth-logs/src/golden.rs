//! Files of releases: today's writer writes the newest one to the byte, and today's reader reads all of them. A released file
//! is never changed.

use rusqlite::Connection;

use super::*;

/// Two groups, one with a retention; two streams, one without events; two events.
const NEWEST: &str = include_str!("goldens/schema-3.sql");
/// The same before streams could be marked as removed, and before accounts were charged.
const OLDER: [&str; 2] = [
    include_str!("goldens/schema-1.sql"),
    include_str!("goldens/schema-2.sql"),
];

const NOW: i64 = 1_800_000_000_000;

fn owner() -> LogOwner {
    LogOwner {
        account: "000000000007".into(),
        region: "eu-1".into(),
    }
}

fn path(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("logs.db")
}

fn text(directory: &tempfile::TempDir) -> String {
    let db = Connection::open(path(directory)).unwrap();
    hearth_sqlite::dump(&db).unwrap()
}

fn events() -> Vec<NewEvent> {
    let event = |time_ms, message: &str| NewEvent {
        time_ms,
        message: message.to_owned(),
    };
    vec![
        event(NOW - 5, "it's a line"),
        event(NOW, "two\nlines, with 'ü'"),
    ]
}

#[test]
fn todays_writer_writes_the_newest_file_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let store = LogStore::open(&path(&directory), LogLimits::default()).unwrap();
    store.create_group(&owner(), "/g", NOW - 9).unwrap();
    store.create_group(&owner(), "/h", NOW - 8).unwrap();
    store.set_retention(&owner(), "/h", Some(7)).unwrap();
    store.create_stream(&owner(), "/g", "s", NOW - 7).unwrap();
    store.create_stream(&owner(), "/g", "t", NOW - 6).unwrap();
    store
        .append(&owner(), "/g", "s", &events(), NOW + 1)
        .unwrap();
    drop(store);
    assert_eq!(text(&directory), NEWEST);
}

fn is_read_whole(directory: &tempfile::TempDir, text: &str) {
    let db = Connection::open(path(directory)).unwrap();
    db.execute_batch(text).unwrap();
    drop(db);
    let store = LogStore::open(&path(directory), LogLimits::default()).unwrap();
    let groups = store.groups(&owner(), "", "", None, 9).unwrap();
    let group = |name: &str, created_ms, retention_days, stored_bytes| Group {
        name: name.to_owned(),
        created_ms,
        retention_days,
        stored_bytes,
    };
    let expected = [
        group("/g", NOW - 9, None, 11 + 20 + 2 * 26),
        group("/h", NOW - 8, Some(7), 0),
    ];
    assert_eq!(groups, expected);
    let streams = store
        .streams(&owner(), "/g", "", StreamOrder::Name, 0, 9)
        .unwrap();
    let stream = |name: &str, created_ms, first, last, ingestion| Stream {
        name: name.to_owned(),
        created_ms,
        first_event_ms: first,
        last_event_ms: last,
        last_ingestion_ms: ingestion,
    };
    let expected = [
        stream("s", NOW - 7, Some(NOW - 5), Some(NOW), Some(NOW + 1)),
        stream("t", NOW - 6, None, None, None),
    ];
    assert_eq!(streams, expected);
    let filter = EventFilter {
        streams: StreamSelection::All,
        start_ms: None,
        end_ms: None,
        pattern: Pattern::default(),
    };
    let (found, _) = store.filter(&owner(), "/g", &filter, None, 9).unwrap();
    let expected: Vec<_> = (1..)
        .zip(events())
        .map(|(id, event)| LogEvent {
            id,
            stream: "s".to_owned(),
            time_ms: event.time_ms,
            ingestion_ms: NOW + 1,
            message: event.message,
        })
        .collect();
    assert_eq!(found, expected);
}

/// A file of the current release is read whole and opened without any change to it.
#[test]
fn todays_reader_reads_the_newest_file_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    is_read_whole(&directory, NEWEST);
    assert_eq!(text(&directory), NEWEST);
}

#[test]
fn todays_reader_reads_files_of_older_releases_and_makes_them_new() {
    for older in OLDER {
        let directory = tempfile::tempdir().unwrap();
        is_read_whole(&directory, older);
        assert_eq!(text(&directory), NEWEST);
    }
}
