use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

const SCHEMA: &[&str] = &["CREATE TABLE line (number INTEGER PRIMARY KEY, text TEXT NOT NULL)"];

fn path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("test.db")
}

fn open(directory: &tempfile::TempDir) -> Database {
    Database::open(&path(directory), &Options::new(SCHEMA)).unwrap()
}

fn insert(number: i64, bytes: usize) -> impl FnMut(&Connection) -> Result<(), Error> {
    move |db| {
        db.execute(
            "INSERT INTO line VALUES (?, ?)",
            (number, "x".repeat(bytes)),
        )?;
        Ok(())
    }
}

fn count(db: &Connection) -> Result<i64, Error> {
    Ok(db.query_row("SELECT count(*) FROM line", [], |row| row.get(0))?)
}

#[test]
fn the_files_are_private_and_keep_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    database.blocking_write(insert(1, 10)).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log and the index of the log");
    drop(database);
    assert_eq!(open(&directory).blocking_read(count).unwrap(), 1);
}

/// Whoever drops the last handle finds the file closed: its log is in the database and gone.
#[test]
fn dropping_closes_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    database.blocking_write(insert(1, 10)).unwrap();
    drop(database);
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1);
}

#[test]
fn durability_is_what_was_asked_for() {
    for (durability, expected) in [(Durability::Full, 2), (Durability::Normal, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            durability,
            ..Options::new(SCHEMA)
        };
        let database = Database::open(&path(&directory), &options).unwrap();
        let pragmas = database.blocking_write(|db| {
            let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok::<_, Error>((pragma("synchronous")?, pragma("foreign_keys")?))
        });
        assert_eq!(pragmas.unwrap(), (expected, 1));
    }
}

/// Both ways to submit, also blocking on a thread of a runtime, as tests do.
#[tokio::test]
async fn jobs_of_all_callers_are_written_and_answered() {
    let directory = tempfile::tempdir().unwrap();
    let database = Arc::new(open(&directory));
    database.blocking_write(insert(1000, 1)).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    // More than the queue has places for.
    for number in 0..2 * i64::try_from(QUEUE).unwrap() {
        let database = Arc::clone(&database);
        // Every number comes twice: one of the two must fail, and only that one.
        let job = insert(number / 2, 1);
        if number % 3 == 0 {
            tasks.spawn_blocking(move || database.blocking_write(job).is_ok());
        } else {
            tasks.spawn(async move { database.write(job).await.is_ok() });
        }
    }
    let answers = tasks.join_all().await;
    let written = answers.into_iter().filter(|is_written| *is_written).count();
    assert_eq!(written, QUEUE);
    let rows = database.read(count).await.unwrap();
    assert_eq!(rows, i64::try_from(QUEUE).unwrap() + 1);
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait() {
    let directory = tempfile::tempdir().unwrap();
    let database = Arc::new(open(&directory));
    let (hold, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let first = Arc::clone(&database);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let wait = move |_: &Connection| {
            let _ = held.lock().unwrap().recv();
            Ok::<_, Error>(())
        };
        first.write(wait).await
    });
    for number in 1..i64::try_from(QUEUE).unwrap() {
        let database = Arc::clone(&database);
        tasks.spawn(async move { database.write(insert(number, 1)).await });
    }
    while database.slots.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let late = database.write(insert(0, 1));
    tokio::pin!(late);
    let waited = tokio::select! {
        biased;
        _ = &mut late => false,
        () = tokio::task::yield_now() => true,
    };
    assert!(waited);
    drop(hold);
    late.await.unwrap();
    assert!(tasks.join_all().await.into_iter().all(|done| done.is_ok()));
}

/// A caller that stops waiting has its job written all the same: dropping the database finishes what waits.
#[tokio::test]
async fn a_job_runs_without_its_caller() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    {
        let abandoned = database.write(insert(1, 1));
        tokio::pin!(abandoned);
        tokio::select! {
            biased;
            _ = &mut abandoned => {}
            () = std::future::ready(()) => {}
        }
    }
    drop(database);
    assert_eq!(open(&directory).read(count).await.unwrap(), 1);
}

#[test]
fn a_read_sees_one_commit_from_beginning_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    database.blocking_write(insert(1, 1)).unwrap();
    let seen = database.blocking_read(|db| {
        let before = count(db)?;
        database.blocking_write(insert(2, 1))?;
        Ok::<_, Error>((before, count(db)?))
    });
    assert_eq!(seen.unwrap(), (1, 1));
    assert_eq!(database.blocking_read(count).unwrap(), 2);
}

#[test]
fn readers_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    assert!(database.blocking_read(insert(1, 1)).is_err());
    assert_eq!(database.blocking_read(count).unwrap(), 0);
}

/// A reader that always has a read open keeps SQLite from beginning the log anew. The log is emptied all the same
/// between two reads, and once the last one has ended.
#[test]
fn the_log_is_bounded_under_readers_without_a_pause() {
    const LIMIT: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        max_wal_bytes: LIMIT,
        ..Options::new(SCHEMA)
    };
    let database = Database::open(&path(&directory), &options).unwrap();
    let log_bytes = || {
        let log = directory.path().join("test.db-wal");
        std::fs::metadata(log).unwrap().len()
    };
    let is_done = AtomicBool::new(false);
    let largest = std::thread::scope(|scope| {
        // Two readers whose reads overlap, so that there is always one.
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    database
                        .blocking_read(|db| {
                            count(db)?;
                            std::thread::sleep(Duration::from_millis(20));
                            Ok::<_, Error>(())
                        })
                        .unwrap();
                }
            });
        }
        let mut largest = 0;
        for number in 0..400 {
            database.blocking_write(insert(number, 64 << 10)).unwrap();
            largest = largest.max(log_bytes());
        }
        is_done.store(true, Ordering::Release);
        largest
    });
    // On a busy machine a try may fail. Without any the log would have all that was written: 26 MiB.
    assert!(largest < 8 * LIMIT, "{largest} bytes of log");
    database.blocking_write(insert(1000, 1)).unwrap();
    assert_eq!(database.blocking_read(count).unwrap(), 401);
}

/// A read that does not end keeps the log, and writing goes on. When it has ended, the log is emptied.
#[test]
fn a_long_read_delays_the_emptying_of_the_log() {
    const LIMIT: u64 = 256 << 10;
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        max_wal_bytes: LIMIT,
        ..Options::new(SCHEMA)
    };
    let database = Database::open(&path(&directory), &options).unwrap();
    database.blocking_write(insert(0, 1)).unwrap();
    let log = directory.path().join("test.db-wal");
    database
        .blocking_read(|db| {
            count(db)?;
            for number in 1..10 {
                database.blocking_write(insert(number, 64 << 10))?;
            }
            assert!(std::fs::metadata(&log).unwrap().len() > LIMIT);
            Ok::<_, Error>(())
        })
        .unwrap();
    for number in 10..20 {
        database.blocking_write(insert(number, 64 << 10)).unwrap();
    }
    // What empties it comes after the answer.
    database.blocking_write(|_| Ok::<_, Error>(())).unwrap();
    assert!(std::fs::metadata(&log).unwrap().len() < 2 * LIMIT);
}

/// The thread that writes and the pool of readers go on after callers whose code panics.
#[tokio::test]
async fn panics_of_callers_are_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    let written = database
        .write(|_| -> Result<(), Error> { panic!("a job of a test") })
        .await;
    assert!(matches!(written, Err(Error::Panicked(_))), "{written:?}");
    let read = database
        .read(|_| -> Result<(), Error> { panic!("a query of a test") })
        .await;
    assert!(matches!(read, Err(Error::Panicked(_))), "{read:?}");
    database.write(insert(1, 10)).await.unwrap();
    assert_eq!(database.read(count).await.unwrap(), 1);
}
