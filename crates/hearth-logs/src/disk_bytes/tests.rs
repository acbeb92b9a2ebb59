use super::*;
use crate::{
    AccountLogLimits, Direction, EventFilter, LogLimits, LogOwner, LogStore, NewEvent, Pattern,
    StreamSelection,
};

/// What a group or a stream is charged: a row and an index entry, with the longest name each (`schema.rs`).
const NAME_BYTES: i64 = 1200;

const NOW: i64 = 1_800_000_000_000;

fn owner(account: &str) -> LogOwner {
    LogOwner {
        account: account.to_owned(),
        region: "eu-1".to_owned(),
    }
}

fn store(max_bytes: i64) -> (tempfile::TempDir, LogStore) {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        account: AccountLogLimits {
            max_bytes,
            ..AccountLogLimits::default()
        },
        ..LogLimits::default()
    };
    let store = LogStore::open(&directory.path().join("logs.db"), limits).unwrap();
    (directory, store)
}

fn write(store: &LogStore, account: &str, group: &str, times_ms: std::ops::Range<i64>, text: &str) {
    let owner = owner(account);
    store.ensure_stream(&owner, group, "s", NOW).unwrap();
    let events: Vec<_> = times_ms
        .map(|time_ms| NewEvent {
            time_ms: NOW + time_ms,
            message: text.to_owned(),
        })
        .collect();
    for batch in events.chunks(1000) {
        store.append(&owner, group, "s", batch, NOW).unwrap();
    }
}

fn charged(store: &LogStore, account: &str) -> i64 {
    store.read(|db| kept_bytes(db, account)).unwrap()
}

/// What there is, by the definition of the charge.
fn counted(store: &LogStore, account: &str) -> i64 {
    let sql = format!(
        "SELECT (SELECT coalesce(sum(length(CAST(message AS BLOB)) + {EVENT_BYTES}), 0) FROM log_event
                 WHERE group_id IN (SELECT id FROM log_group WHERE charged_account = ?1))
              + {NAME_BYTES} * (SELECT count(*) FROM log_stream
                 WHERE group_id IN (SELECT id FROM log_group WHERE charged_account = ?1))
              + {NAME_BYTES} * (SELECT count(*) FROM log_group WHERE charged_account = ?1)"
    );
    let count = |db: &Connection| Ok(db.query_row(&sql, [account], |row| row.get(0))?);
    store.read(count).unwrap()
}

fn times(store: &LogStore, account: &str, group: &str) -> Vec<i64> {
    let filter = EventFilter {
        streams: StreamSelection::All,
        start_ms: None,
        end_ms: None,
        pattern: Pattern::default(),
    };
    let found = store
        .events(
            &owner(account),
            group,
            &filter,
            Direction::Forward,
            None,
            10_000,
        )
        .unwrap();
    found.iter().map(|event| event.time_ms - NOW).collect()
}

/// Finding H6: an account is charged what its events take of the file, whatever their size.
#[test]
fn an_account_is_charged_what_sqlite_takes() {
    for (text, events) in [
        ("x", 60_000),
        (&*"line of a usual length ".repeat(5), 20_000),
    ] {
        let (directory, store) = store(i64::MAX);
        let before = file_bytes(&directory);
        write(&store, "a", "/g", 0..events, text);
        let taken = file_bytes(&directory) - before;
        let charged = charged(&store, "a");
        let is_honest = (taken..taken * 3 / 2).contains(&charged);
        assert!(is_honest, "charged {charged}, taken {taken}");
    }
}

fn file_bytes(directory: &tempfile::TempDir) -> i64 {
    let db = Connection::open(directory.path().join("logs.db")).unwrap();
    db.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get(0),
    )
    .unwrap()
}

/// Finding H6: the oldest events of the account go, wherever they lie, and nothing of other accounts does.
#[test]
fn a_full_account_loses_its_oldest_events() {
    let max = 200_000;
    let (_directory, store) = store(max);
    write(&store, "other", "/g", 0..500, "x");
    write(&store, "a", "/new", 5000..5300, "x");
    write(&store, "a", "/old", 0..1000, "x");
    write(&store, "a", "/late", 9000..10_000, "x");
    assert!(charged(&store, "a") <= max, "{}", charged(&store, "a"));
    assert_eq!(charged(&store, "a"), counted(&store, "a"));
    let old = times(&store, "a", "/old");
    assert!(
        old.len() < 700 && old.is_sorted() && old.first() > Some(&300),
        "{old:?}"
    );
    assert_eq!(times(&store, "a", "/new").len(), 300);
    assert_eq!(times(&store, "a", "/late").len(), 1000);
    assert_eq!(times(&store, "other", "/g").len(), 500);
}

#[test]
fn what_is_deleted_is_charged_until_it_is_gone() {
    let (_directory, store) = store(i64::MAX);
    write(&store, "a", "/g", 0..5000, "x");
    write(&store, "a", "/kept", 0..10, "x");
    store
        .write(|db| {
            let hide = "UPDATE log_group SET account = '', name = 'removed 1' WHERE name = '/g'";
            Ok(db.execute(hide, [])?)
        })
        .unwrap();
    assert!(charged(&store, "a") > 5000 * EVENT_BYTES);
    while store.sweep(NOW).unwrap() > 0 {
        assert_eq!(charged(&store, "a"), counted(&store, "a"));
    }
    assert_eq!(
        charged(&store, "a"),
        2 * NAME_BYTES + 10 * (1 + EVENT_BYTES)
    );
    store.delete_stream(&owner("a"), "/kept", "s").unwrap();
    store.delete_group(&owner("a"), "/kept").unwrap();
    while store.sweep(NOW).unwrap() > 0 {}
    assert_eq!(charged(&store, "a"), 0);
}

/// Names are not removed for room: whoever fills its account with them is told.
#[test]
fn an_account_full_of_streams_is_refused_more() {
    let (_directory, store) = store(20 * NAME_BYTES);
    write(&store, "a", "/g", 0..3, "x");
    let refused = (0..30)
        .map(|n| store.create_stream(&owner("a"), "/g", &format!("s{n}"), NOW))
        .find_map(Result::err);
    assert!(
        matches!(refused, Some(LogError::AccountFull)),
        "{refused:?}"
    );
    assert!(charged(&store, "a") <= 20 * NAME_BYTES);
    assert_eq!(charged(&store, "a"), counted(&store, "a"));
}
