use super::*;

const NOW: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;

fn owner() -> LogOwner {
    LogOwner {
        account: "000000000000".into(),
        region: "eu-1".into(),
    }
}

fn store(limits: LogLimits) -> (tempfile::TempDir, LogStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = LogStore::open(&directory.path().join("logs.db"), limits).unwrap();
    store.ensure_stream(&owner(), "/g", "s", NOW).unwrap();
    (directory, store)
}

fn events(range: std::ops::Range<i64>) -> Vec<NewEvent> {
    range
        .map(|n| NewEvent {
            time_ms: NOW + n,
            message: format!("line {n}"),
        })
        .collect()
}

fn everything() -> EventFilter {
    EventFilter {
        streams: StreamSelection::All,
        start_ms: None,
        end_ms: None,
        pattern: Pattern::default(),
    }
}

fn messages(events: &[LogEvent]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[test]
fn pages_cover_everything_once() {
    let (_directory, store) = store(LogLimits::default());
    store
        .append(&owner(), "/g", "s", &events(0..10), NOW)
        .unwrap();
    let (mut seen, mut position) = (Vec::new(), None);
    loop {
        let (page, next) = store
            .filter(&owner(), "/g", &everything(), position, 3)
            .unwrap();
        seen.extend(page.into_iter().map(|event| event.time_ms - NOW));
        position = next;
        if position.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

#[test]
fn the_last_page_of_a_stream_comes_first_and_backwards() {
    let (_directory, store) = store(LogLimits::default());
    store
        .append(&owner(), "/g", "s", &events(0..5), NOW)
        .unwrap();
    let page = |position| {
        store
            .events(
                &owner(),
                "/g",
                &everything(),
                Direction::Backward,
                position,
                2,
            )
            .unwrap()
    };
    let last = page(None);
    assert_eq!(messages(&last), ["line 3", "line 4"]);
    assert_eq!(
        messages(&page(Some(Position::of(&last[0])))),
        ["line 1", "line 2"]
    );
}

#[test]
fn a_group_over_its_limit_forgets_its_oldest_events() {
    let (_directory, store) = store(LogLimits {
        max_group_bytes: 100,
        ..LogLimits::default()
    });
    store
        .append(&owner(), "/g", "s", &events(0..10), NOW)
        .unwrap();
    let (kept, _) = store
        .filter(&owner(), "/g", &everything(), None, 100)
        .unwrap();
    assert_eq!(messages(&kept), ["line 7", "line 8", "line 9"]);
    let group = &store.groups(&owner(), "", "", None, 1).unwrap()[0];
    assert_eq!(group.stored_bytes, 3 * (6 + 26));
}

/// A batch is not cut, so an account that may write writes all of it, and waits after it.
#[test]
fn an_account_beyond_its_rate_waits_while_others_write() {
    let (_directory, store) = store(LogLimits {
        account: AccountLogLimits {
            events_per_second: 10,
            ..AccountLogLimits::default()
        },
        ..LogLimits::default()
    });
    let append = |owner: &LogOwner, count| store.append(owner, "/g", "s", &events(0..count), NOW);
    append(&owner(), 50).unwrap();
    let refused = append(&owner(), 1).unwrap_err();
    let LogError::TooFast(wait) = refused else {
        panic!("{refused}")
    };
    assert!((2..=3).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(store.wait_of(&owner().account).as_secs(), wait.as_secs());
    // A large event is worth many small ones.
    let large = [0, 1023, 10 << 10].map(|length| NewEvent {
        time_ms: NOW,
        message: "x".repeat(length),
    });
    assert_eq!(crate::event::worth(&large), 1 + 1 + 11);
    let other = LogOwner {
        account: "000000000002".to_owned(),
        ..owner()
    };
    store.ensure_stream(&other, "/g", "s", NOW).unwrap();
    append(&other, 1).unwrap();
}

#[test]
fn retention_removes_what_is_older() {
    let (_directory, store) = store(LogLimits::default());
    store.set_retention(&owner(), "/g", Some(3)).unwrap();
    store
        .append(&owner(), "/g", "s", &events(0..4), NOW)
        .unwrap();
    assert_eq!(store.sweep(NOW + 3 * DAY_MS + 2).unwrap(), 2);
    assert_eq!(store.sweep(NOW + 3 * DAY_MS + 2).unwrap(), 0);
    let (kept, _) = store
        .filter(&owner(), "/g", &everything(), None, 100)
        .unwrap();
    assert_eq!(messages(&kept), ["line 2", "line 3"]);
    assert_eq!(
        store.groups(&owner(), "", "", None, 1).unwrap()[0].stored_bytes,
        2 * (6 + 26)
    );
    assert!(matches!(
        store.set_retention(&owner(), "/g", Some(2)),
        Err(LogError::BadRetention)
    ));
}

#[test]
fn events_out_of_their_time_are_named() {
    let (_directory, store) = store(LogLimits::default());
    let at = |time_ms| NewEvent {
        time_ms,
        message: "m".into(),
    };
    let old = store
        .append(&owner(), "/g", "s", &[at(NOW - 15 * DAY_MS)], NOW)
        .unwrap();
    assert_eq!((old.too_old_end, old.total), (1, 1));
    let batch = [at(NOW), at(NOW + 3 * 3_600_000)];
    assert_eq!(
        store
            .append(&owner(), "/g", "s", &batch, NOW)
            .unwrap()
            .too_new_start,
        1
    );
    let unordered = [at(NOW + 1), at(NOW)];
    assert!(matches!(
        store.append(&owner(), "/g", "s", &unordered, NOW),
        Err(LogError::NotChronological)
    ));
}

#[test]
fn who_follows_sees_everything_once_in_the_order_of_its_coming() {
    let (_directory, store) = store(LogLimits::default());
    store
        .append(&owner(), "/g", "s", &events(5..8), NOW)
        .unwrap();
    let begun = store.newest().unwrap();
    // What happened before, but came after.
    store
        .append(&owner(), "/g", "s", &events(0..2), NOW)
        .unwrap();
    store.ensure_stream(&owner(), "/g", "other", NOW).unwrap();
    store
        .append(&owner(), "/g", "other", &events(2..3), NOW)
        .unwrap();
    store
        .append(&owner(), "/g", "s", &events(9..10), NOW)
        .unwrap();
    let page = |after, limit| store.arrived(&owner(), "/g", "s", after, limit).unwrap();
    let first = page(begun, 2);
    let rest = page(first.seen, 9);
    let seen: Vec<_> = first
        .events
        .iter()
        .chain(&rest.events)
        .map(|event| event.time_ms)
        .collect();
    assert_eq!(
        seen,
        [events(0..2), events(9..10)]
            .concat()
            .iter()
            .map(|event| event.time_ms)
            .collect::<Vec<_>>()
    );
    assert!(page(store.newest().unwrap(), 9).events.is_empty());
    // A number is not given twice, even when everything is gone.
    let newest = store.newest().unwrap();
    store.delete_stream(&owner(), "/g", "s").unwrap();
    store.delete_stream(&owner(), "/g", "other").unwrap();
    assert_eq!(store.newest().unwrap(), newest);
}

#[test]
fn owners_see_only_their_own() {
    let (_directory, store) = store(LogLimits::default());
    let other = LogOwner {
        account: "111111111111".into(),
        ..owner()
    };
    assert!(store.groups(&other, "", "", None, 10).unwrap().is_empty());
    assert!(matches!(
        store.append(&other, "/g", "s", &events(0..1), NOW),
        Err(LogError::NoGroup)
    ));
}

#[test]
fn deleting_a_stream_returns_its_bytes() {
    let (_directory, store) = store(LogLimits::default());
    store
        .append(&owner(), "/g", "s", &events(0..3), NOW)
        .unwrap();
    store.delete_stream(&owner(), "/g", "s").unwrap();
    assert_eq!(
        store.groups(&owner(), "/", "g", None, 1).unwrap()[0].stored_bytes,
        0
    );
    assert!(
        store
            .streams(&owner(), "/g", "", StreamOrder::Name, 0, 9)
            .unwrap()
            .is_empty()
    );
}
