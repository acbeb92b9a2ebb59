use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::StatementStatus;

use super::*;
use crate::event::NewEvent;
use crate::limits::LogLimits;

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

/// Appends events with these times to a stream, which is made where it is not there.
fn append(store: &LogStore, stream: &str, times: impl IntoIterator<Item = i64>) {
    store.ensure_stream(&owner(), "/g", stream, NOW).unwrap();
    let event = |time| NewEvent {
        time_ms: NOW + time,
        message: format!("{stream} {time}"),
    };
    let events: Vec<_> = times.into_iter().map(event).collect();
    for batch in events.chunks(1000) {
        store.append(&owner(), "/g", stream, batch, NOW).unwrap();
    }
}

fn of(streams: StreamSelection) -> EventFilter {
    EventFilter {
        streams,
        start_ms: None,
        end_ms: None,
        pattern: Pattern::default(),
    }
}

fn names(names: &[&str]) -> StreamSelection {
    StreamSelection::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Large events end a page before there are many of them, so that no search blocks a thread for long.
#[test]
fn a_page_looks_through_so_many_bytes_and_no_more() {
    let (_directory, store) = store();
    store.ensure_stream(&owner(), "/g", "s", NOW).unwrap();
    let event = NewEvent {
        time_ms: NOW,
        message: "x".repeat(1_000_000),
    };
    for _ in 0..50 {
        let event = std::slice::from_ref(&event);
        store.append(&owner(), "/g", "s", event, NOW).unwrap();
    }
    let mut filter = of(StreamSelection::All);
    filter.pattern = Pattern::parse("{ $.a = 1 }").unwrap();
    let (found, pages) = all(&store, &filter, 100);
    assert_eq!((found.len(), pages), (0, 2));
}

/// Everything that a filter finds, and in how many pages.
fn all(store: &LogStore, filter: &EventFilter, limit: usize) -> (Vec<String>, usize) {
    let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let (events, next) = store.filter(&owner(), "/g", filter, after, limit).unwrap();
        found.extend(events.into_iter().map(|event| event.message));
        pages += 1;
        match next {
            Some(next) => after = Some(next),
            None => return (found, pages),
        }
    }
}

/// How SQLite means to find the rows.
fn plan(store: &LogStore, source: Source, range: &Range) -> String {
    let (sql, values) = range.query(source, 1);
    let steps = store.read(|connection| {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let rows = explained.query_map(params_from_iter(values), |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    });
    steps.unwrap().join("; ")
}

#[test]
fn every_query_follows_an_index_in_the_order_of_its_page() {
    let (_directory, store) = store();
    let position = Position { time_ms: 5, id: 5 };
    for direction in [Direction::Forward, Direction::Backward] {
        for position in [None, Some(position)] {
            for (start_ms, end_ms) in [(None, None), (Some(1), Some(9))] {
                let range = Range {
                    start_ms,
                    end_ms,
                    direction,
                    position,
                };
                for (source, index) in [
                    (Source::Stream, "INDEX log_event_by_stream (stream_id=?"),
                    (Source::Group, "INDEX log_event_by_group (group_id=?"),
                ] {
                    let plan = plan(&store, source, &range);
                    assert!(plan.contains(&format!("SEARCH e USING {index}")), "{plan}");
                    assert!(
                        plan.contains("SEARCH s USING INTEGER PRIMARY KEY"),
                        "{plan}"
                    );
                    assert!(
                        !plan.contains("TEMP B-TREE") && !plan.contains("SCAN"),
                        "{plan}"
                    );
                }
            }
        }
    }
}

/// Finding H6, counted in steps of SQLite: a page that goes on far into a long range looks at nothing that lies before it. With
/// both bounds in the query SQLite enters the index at the range's beginning, and goes through all pages that were answered.
#[test]
fn a_page_looks_at_nothing_before_its_position() {
    const EVENTS: i64 = 5000;
    let (_directory, store) = store();
    append(&store, "s", 0..EVENTS);
    for (direction, time, bound) in [
        (Direction::Forward, EVENTS - 3, (Some(NOW), None)),
        (Direction::Backward, 2, (None, Some(NOW + EVENTS))),
    ] {
        let range = Range {
            start_ms: bound.0,
            end_ms: bound.1,
            direction,
            position: Some(Position {
                time_ms: NOW + time,
                id: time + 1,
            }),
        };
        let (sql, values) = range.query(Source::Group, 1);
        let looked = store.read(|db| {
            let mut statement = db.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut found = 0;
            while rows.next()?.is_some() {
                found += 1;
            }
            drop(rows);
            Ok((found, statement.get_status(StatementStatus::VmStep)))
        });
        let (found, steps) = looked.unwrap();
        assert_eq!(found, 2, "{direction:?}");
        assert!(steps < 200, "{direction:?}: {steps} steps");
    }
}

/// What a quiet stream costs does not depend on its neighbours.
#[test]
fn a_quiet_stream_in_a_busy_group_is_read_in_one_page() {
    let (_directory, store) = store();
    append(&store, "quiet", [0, 70_000]);
    // More events than one page may look at, all of them between the two.
    for neighbour in 0..60 {
        append(
            &store,
            &format!("busy-{neighbour}"),
            (0..1000).map(|n| 1 + n + neighbour * 1000),
        );
    }
    let quiet = of(names(&["quiet"]));
    let expected = ["quiet 0", "quiet 70000"].map(str::to_owned).to_vec();
    assert_eq!(all(&store, &quiet, 100), (expected.clone(), 1));
    assert_eq!(
        all(&store, &of(StreamSelection::Prefix("qui".into())), 100),
        (expected, 1)
    );
    let last = |direction| {
        let found = store
            .events(&owner(), "/g", &quiet, direction, None, 1)
            .unwrap();
        found[0].time_ms - NOW
    };
    assert_eq!(
        (last(Direction::Forward), last(Direction::Backward)),
        (0, 70_000)
    );

    // Over the whole group a page ends where enough was looked at, and the next one goes on there.
    let mut rare = of(StreamSelection::All);
    rare.pattern = Pattern::parse("quiet").unwrap();
    let (found, pages) = all(&store, &rare, 100);
    assert_eq!((found.len(), pages), (2, 2));
}

/// More streams than are read side by side.
#[test]
fn a_prefix_of_many_streams_selects_them_and_no_others() {
    let (_directory, store) = store();
    for number in 0..MAX_NAMED_STREAMS + 20 {
        append(
            &store,
            &format!("vm-{number:03}"),
            [i64::try_from(number).unwrap()],
        );
    }
    append(&store, "vn", [3]);
    append(&store, "v", [4]);
    let (found, _) = all(&store, &of(StreamSelection::Prefix("vm-".into())), 50);
    let expected: Vec<_> = (0..MAX_NAMED_STREAMS + 20)
        .map(|number| format!("vm-{number:03} {number}"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_deleted_stream_is_gone_from_every_selection() {
    let (_directory, store) = store();
    append(&store, "a", [1, 3]);
    append(&store, "b", [2]);
    // As a deletion that has not removed its events yet.
    store
        .write(|db| {
            let removed =
                "UPDATE log_stream SET is_removed = 1, name = 'removed:1' WHERE name = 'a'";
            db.execute(removed, [])?;
            Ok(())
        })
        .unwrap();
    for streams in [StreamSelection::All, StreamSelection::Prefix(String::new())] {
        assert_eq!(all(&store, &of(streams), 9).0, ["b 2"]);
    }
    let named = store.filter(&owner(), "/g", &of(names(&["a"])), None, 9);
    assert!(matches!(named, Err(LogError::NoStream)));
    // Its name is free again.
    append(&store, "a", [5]);
    assert_eq!(all(&store, &of(names(&["a", "b"])), 9).0, ["b 2", "a 5"]);
}

#[test]
fn who_reads_keeps_nobody_from_appending() {
    let (_directory, store) = store();
    append(&store, "s", 0..10);
    let (sender, appended) = mpsc::channel();
    std::thread::scope(|scope| {
        store
            .read(|connection| {
                let mut statement = connection.prepare("SELECT id FROM log_event")?;
                let mut rows = statement.query([])?;
                rows.next()?;
                scope.spawn(|| {
                    append(&store, "s", 10..20);
                    sender.send(()).unwrap();
                });
                // The reader is still in the middle.
                appended.recv_timeout(Duration::from_secs(20)).unwrap();
                Ok(())
            })
            .unwrap();
    });
    assert_eq!(all(&store, &of(StreamSelection::All), 100).0.len(), 20);
}

#[test]
fn a_reader_does_not_wait_for_who_writes() {
    let (_directory, store) = store();
    append(&store, "s", 0..10);
    let ((begun, writing), (sender, read)) = (mpsc::channel(), mpsc::channel::<()>());
    std::thread::scope(|scope| {
        let read = std::sync::Mutex::new(read);
        let store = &store;
        scope.spawn(move || {
            let deletion = store.write(move |db| {
                db.execute("DELETE FROM log_event", [])?;
                begun.send(()).unwrap();
                let _ = read.lock().unwrap().recv();
                Ok(())
            });
            deletion.unwrap();
        });
        // The writer is in the middle, and goes on only when the read is done.
        writing.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(all(store, &of(StreamSelection::All), 100).0.len(), 10);
        drop(sender);
    });
    assert_eq!(all(&store, &of(StreamSelection::All), 100).0.len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever streams are chosen and however pages are cut: the events in the order of time and number, each once.
    #[test]
    fn pages_of_chosen_streams_are_what_sorting_gives(
        batches in prop::collection::vec((0..4_usize, prop::collection::vec(0..50_i64, 1..12)), 1..12),
        chosen in prop::collection::vec(any::<bool>(), 4),
        limit in 1..7_usize,
    ) {
        let (_directory, store) = store();
        let name = |stream: usize| format!("s{stream}");
        for stream in 0..4 {
            append(&store, &name(stream), []);
        }
        let mut expected = Vec::new();
        for (stream, mut times) in batches {
            times.sort_unstable();
            append(&store, &name(stream), times.iter().copied());
            for time in times {
                expected.push((time, expected.len(), stream));
            }
        }
        expected.retain(|(_, _, stream)| chosen[*stream]);
        expected.sort_unstable();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(time, _, stream)| format!("s{stream} {time}"))
            .collect();
        let selected = (0..4).filter(|stream| chosen[*stream]).map(name).collect();
        let filter = of(StreamSelection::Names(selected));
        prop_assert_eq!(&all(&store, &filter, limit).0, &expected);

        // Backwards, page by page from the end.
        let (mut backwards, mut before) = (Vec::new(), None);
        loop {
            let page = store
                .events(&owner(), "/g", &filter, Direction::Backward, before, limit)
                .unwrap();
            let Some(first) = page.first() else { break };
            before = Some(Position::of(first));
            backwards.splice(0..0, page.into_iter().map(|event| event.message));
        }
        prop_assert_eq!(&backwards, &expected);
    }
}
