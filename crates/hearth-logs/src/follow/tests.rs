use rusqlite::StatementStatus;

use super::*;
use crate::{LogLimits, NewEvent};

const NOW: i64 = 1_800_000_000_000;

fn owner(account: &str) -> LogOwner {
    LogOwner {
        account: account.to_owned(),
        region: "eu-1".to_owned(),
    }
}

fn write(store: &LogStore, account: &str, lines: i64) {
    let events: Vec<_> = (0..lines)
        .map(|line| NewEvent {
            time_ms: NOW + line,
            message: "x".to_owned(),
        })
        .collect();
    let owner = owner(account);
    store.ensure_stream(&owner, "/g", "s", NOW).unwrap();
    for batch in events.chunks(10_000) {
        store.append(&owner, "/g", "s", batch, NOW).unwrap();
    }
}

/// Finding M5, counted in steps of SQLite: who goes on from [`Arrived::seen`] looks at nothing that it has passed, and one call
/// looks at a bounded part of what others have written.
#[test]
fn each_call_looks_at_what_is_new_and_at_no_more_than_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let store = LogStore::open(&directory.path().join("logs.db"), LogLimits::default()).unwrap();
    write(&store, "quiet", 1);
    let begun = store.newest().unwrap();
    write(&store, "loud", MAX_SCANNED + 10_000);
    store
        .read(|db| {
            let group = group_id(db, &owner("quiet"), "/g")?;
            let stream = stream_id(db, group, "s")?;
            let look = |after| {
                let found = arrived(db, stream, after, 9)?;
                let steps = db
                    .prepare_cached(ARRIVED)?
                    .reset_status(StatementStatus::VmStep);
                Ok::<_, LogError>((found, steps))
            };
            let (first, steps) = look(begun)?;
            assert!(first.events.is_empty() && first.has_more);
            assert_eq!(first.seen, begun + MAX_SCANNED);
            // Some steps for each of them.
            assert!((50_000..500_000).contains(&steps), "{steps} steps");
            let (second, steps) = look(first.seen)?;
            assert!(!second.has_more);
            assert!(steps < 100_000, "{steps} steps");
            let (third, steps) = look(second.seen)?;
            assert!(third.events.is_empty() && !third.has_more);
            assert!(steps < 100, "{steps} steps");
            Ok(())
        })
        .unwrap();
}
