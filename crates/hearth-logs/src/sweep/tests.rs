use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::*;
use crate::schema::STEPS;
use crate::{
    Direction, EventFilter, LogLimits, LogOwner, NewEvent, Pattern, StreamOrder, StreamSelection,
};

const NOW: i64 = 1_800_000_000_000;

fn owner() -> LogOwner {
    LogOwner {
        account: "000000000000".into(),
        region: "eu-1".into(),
    }
}

fn store() -> (tempfile::TempDir, LogStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = LogStore::open(&directory.path().join("logs.db"), LogLimits::default()).unwrap();
    (directory, store)
}

fn fill(store: &LogStore, group: &str, stream: &str, count: i64) {
    store.ensure_stream(&owner(), group, stream, NOW).unwrap();
    let event = |n| NewEvent {
        time_ms: NOW + n,
        message: format!("line {n}"),
    };
    let events: Vec<_> = (0..count).map(event).collect();
    for batch in events.chunks(5000) {
        store.append(&owner(), group, stream, batch, NOW).unwrap();
    }
}

fn rows(store: &LogStore, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    store
        .read(|db| Ok(db.query_row(&count, [], |row| row.get(0))?))
        .unwrap()
}

/// Calls until nothing is left; answers the slices.
fn sweep_all(store: &LogStore, now_ms: i64) -> Vec<usize> {
    std::iter::from_fn(|| Some(store.sweep(now_ms).unwrap()).filter(|removed| *removed > 0))
        .collect()
}

#[test]
fn retention_is_enforced_in_slices_over_all_groups() {
    let (_directory, store) = store();
    for group in ["/a", "/b", "/kept"] {
        fill(&store, group, "s", 3000);
    }
    store.set_retention(&owner(), "/a", Some(1)).unwrap();
    store.set_retention(&owner(), "/b", Some(3)).unwrap();
    let after = |days| NOW + days * DAY_MS + 3000;
    let slices = sweep_all(&store, after(1));
    assert_eq!(slices, [2000, 1000]);
    assert_eq!(sweep_all(&store, after(3)), [2000, 1000]);
    assert_eq!(rows(&store, "log_event"), 3000);
    let sizes = store.groups(&owner(), "", "", None, 9).unwrap();
    let sizes: Vec<_> = sizes.iter().map(|group| group.stored_bytes > 0).collect();
    assert_eq!(sizes, [false, false, true]);
}

#[test]
fn a_deleted_group_leaves_nothing() {
    let (_directory, store) = store();
    for stream in ["a", "b"] {
        fill(&store, "/g", stream, 5000);
    }
    fill(&store, "/other", "s", 10);
    store.delete_group(&owner(), "/g").unwrap();
    sweep_all(&store, NOW);
    assert_eq!(
        (rows(&store, "log_event"), rows(&store, "log_stream")),
        (10, 1)
    );
    assert_eq!(rows(&store, "log_group"), 1);
}

/// A deletion that was cut short, by its time or by a crash: it is gone for everybody, and the sweep removes the rest.
#[test]
fn the_sweep_finishes_what_a_deletion_has_left() {
    let (_directory, store) = store();
    fill(&store, "/g", "kept", 10);
    fill(&store, "/g", "big", 5000);
    fill(&store, "/gone", "s", 5000);
    store
        .write(|db| {
            db.execute_batch(
                "UPDATE log_stream SET is_removed = 1, name = 'removed:2' WHERE name = 'big';
                 UPDATE log_group SET account = '', name = 'removed 2' WHERE name = '/gone';",
            )?;
            Ok(())
        })
        .unwrap();
    let groups = store.groups(&owner(), "", "", None, 9).unwrap();
    assert_eq!(groups.len(), 1);
    let streams = store
        .streams(&owner(), "/g", "", StreamOrder::Name, 0, 9)
        .unwrap();
    assert_eq!(streams.len(), 1);

    let slices = sweep_all(&store, NOW);
    assert!(slices.iter().all(|slice| *slice <= 2000), "{slices:?}");
    assert_eq!(rows(&store, "log_event"), 10);
    let group = &store.groups(&owner(), "", "", None, 1).unwrap()[0];
    assert_eq!(group.stored_bytes, 10 * (6 + OVERHEAD_BYTES));
}

/// While a group of 60,000 events is deleted, others append. The bound is generous: the machine may be busy with other
/// tests. Deleted in one transaction the appends would wait for all of it.
#[test]
fn a_deletion_lets_others_append() {
    let (_directory, store) = store();
    fill(&store, "/big", "s", 60_000);
    fill(&store, "/g", "s", 1);
    let is_deleted = AtomicBool::new(false);
    let appended = std::thread::scope(|scope| {
        scope.spawn(|| {
            store.delete_group(&owner(), "/big").unwrap();
            sweep_all(&store, NOW);
            is_deleted.store(true, Ordering::Release);
        });
        let mut appended = 0;
        while !is_deleted.load(Ordering::Acquire) {
            fill(&store, "/g", "s", 1);
            appended += 1;
        }
        appended
    });
    assert!(appended >= 10, "{appended} appends during the deletion");
    assert_eq!(rows(&store, "log_event"), 1 + appended);
}

#[test]
fn a_database_of_an_older_release_opens_with_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("logs.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(STEPS[0]).unwrap();
    db.execute_batch(
        "INSERT INTO log_group (id, account, region, name, created_ms) VALUES (1, '000000000000', 'eu-1', '/g', 1);
         INSERT INTO log_stream (id, group_id, name, created_ms) VALUES (1, 1, 's', 1);
         INSERT INTO log_event (group_id, stream_id, time_ms, ingestion_ms, message) VALUES (1, 1, 1, 1, 'old');
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(db);
    let store = LogStore::open(&path, LogLimits::default()).unwrap();
    let filter = EventFilter {
        streams: StreamSelection::Names(vec!["s".into()]),
        start_ms: None,
        end_ms: None,
        pattern: Pattern::default(),
    };
    let found = store
        .events(&owner(), "/g", &filter, Direction::Forward, None, 9)
        .unwrap();
    assert_eq!(found[0].message, "old");
    drop(store);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let newer = LogStore::open(&path, LogLimits::default());
    assert!(matches!(newer, Err(LogError::UnknownVersion(99))));
}
