use std::sync::{Arc, Mutex};

use super::*;

type Answer = Result<bool, Error>;

/// A job of a test, and where its answer goes.
type Work = Box<dyn FnMut(&Connection) -> Answer + Send>;

fn database(directory: &tempfile::TempDir) -> Connection {
    let db = Connection::open(directory.path().join("test.db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE account (id INTEGER PRIMARY KEY, text TEXT) STRICT",
    )
    .unwrap();
    db
}

fn insert(db: &Connection, id: i64, text: &str) -> Result<(), Error> {
    db.prepare_cached("INSERT INTO account VALUES (?, ?)")?
        .execute((id, text))?;
    Ok(())
}

fn add(id: i64) -> Work {
    Box::new(move |db| insert(db, id, "").map(|()| true))
}

/// Too large for the database once its size is limited.
fn huge() -> Work {
    Box::new(|db| {
        insert(db, 9, "")?;
        insert(db, 10, &"s".repeat(4 << 20))?;
        Ok(true)
    })
}

/// Writes an account if another one exists.
fn add_if_present(id: i64, other: i64) -> Work {
    Box::new(move |db| {
        let is_present = db
            .prepare_cached("SELECT 1 FROM account WHERE id = ?")?
            .exists([other])?;
        if is_present {
            insert(db, id, "")?;
        }
        Ok(is_present)
    })
}

fn write_watched(
    db: &mut Connection,
    jobs: Vec<Work>,
    watch: &mut impl FnMut(CommitMoment),
) -> Vec<Answer> {
    let answers: Arc<Mutex<Vec<_>>> = Arc::default();
    let request = |(at, job)| {
        let answers = Arc::clone(&answers);
        let reply = move |answer| answers.lock().unwrap().push((at, answer));
        Request::new(job, reply, None)
    };
    let group = jobs.into_iter().enumerate().map(request).collect();
    write_all(db, group, watch);
    let mut answers = std::mem::take(&mut *answers.lock().unwrap());
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn write(db: &mut Connection, jobs: Vec<Work>) -> Vec<Answer> {
    write_watched(db, jobs, &mut |_| {})
}

fn accounts(db: &Connection) -> Vec<i64> {
    let mut query = db.prepare("SELECT id FROM account ORDER BY id").unwrap();
    let found = query.query_map([], |row| row.get(0)).unwrap();
    found.map(Result::unwrap).collect()
}

/// The whole transaction is rolled back in the middle of a group: what was answered is what is there.
#[test]
fn a_transaction_that_is_rolled_back_fails_only_the_job_that_caused_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let pages: i64 = db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    db.pragma_update(None, "max_page_count", pages + 64)
        .unwrap();

    let guarded = add_if_present(4, 9);
    let answers = write(
        &mut db,
        vec![add(1), huge(), add(2), huge(), guarded, add(3)],
    );

    assert!(matches!(answers[0], Ok(true)), "{answers:?}");
    for at in [1, 3] {
        let error = answers[at].as_ref().unwrap_err();
        let source = std::error::Error::source(error).unwrap();
        assert!(source.to_string().contains("full"), "{source}");
    }
    assert!(matches!(answers[2], Ok(true)), "{answers:?}");
    assert!(matches!(answers[4], Ok(false)), "{answers:?}");
    assert!(matches!(answers[5], Ok(true)), "{answers:?}");
    assert_eq!(accounts(&db), [1, 2, 3]);
    assert!(db.is_autocommit());

    // And it goes on.
    assert!(write(&mut db, vec![add(5)])[0].is_ok());
    assert_eq!(accounts(&db), [1, 2, 3, 5]);
}

/// A job that has the transaction rolled back and answers success has written nothing, and is told so.
#[test]
fn a_job_that_ends_the_transaction_is_answered_as_failed() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let ending: Work = Box::new(|db| {
        insert(db, 2, "")?;
        db.execute_batch("ROLLBACK")?;
        Ok(true)
    });
    let answers = write(&mut db, vec![add(1), ending, add(3)]);
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(answers[1].is_err(), "{answers:?}");
    assert_eq!(accounts(&db), [1, 3]);
}

#[test]
fn a_job_that_fails_leaves_nothing_and_does_not_touch_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let torn: Work = Box::new(|db| {
        insert(db, 2, "")?;
        insert(db, 1, "")?;
        Ok(true)
    });
    let answers = write(&mut db, vec![add(1), torn, add(3)]);
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(
        matches!(answers[1], Err(Error::Sqlite(_))),
        "{:?}",
        answers[1]
    );
    assert_eq!(accounts(&db), [1, 3]);
}

/// A job that panics takes neither the others of its group with it nor the thread that writes, and is not run again when
/// the group is.
#[test]
fn a_job_that_panics_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let pages: i64 = db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    db.pragma_update(None, "max_page_count", pages + 64)
        .unwrap();
    let runs = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&runs);
    let panicking: Work = Box::new(move |db| {
        *counted.lock().unwrap() += 1;
        insert(db, 2, "")?;
        panic!("a job of a test");
    });

    let answers = write(&mut db, vec![add(1), panicking, huge(), add(3)]);

    assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
    let Err(Error::Panicked(text)) = &answers[1] else {
        panic!("{:?}", answers[1]);
    };
    assert_eq!(text, "a job of a test");
    assert!(answers[2].is_err(), "the group was not run again");
    assert_eq!(*runs.lock().unwrap(), 1);
    assert!(write(&mut db, vec![add(4)])[0].is_ok());
    assert_eq!(accounts(&db), [1, 3, 4]);
}

#[test]
fn a_group_shares_one_commit_and_none_is_answered_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let reader = Connection::open(directory.path().join("test.db")).unwrap();
    let mut moments = Vec::new();
    let jobs = vec![add(1), add(2), add(3)];
    let answers = write_watched(&mut db, jobs, &mut |moment| {
        moments.push((moment, accounts(&reader)));
    });
    assert_eq!(answers.len(), 3);
    let expected = [
        (CommitMoment::Before, vec![]),
        (CommitMoment::After, vec![1, 2, 3]),
    ];
    assert_eq!(moments, expected);
}

/// Jobs that take long do not make the first one wait for all of them.
#[test]
fn a_group_that_takes_long_is_committed_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let slow = |id| -> Work {
        Box::new(move |db| {
            std::thread::sleep(GROUP_TIME);
            insert(db, id, "").map(|()| true)
        })
    };
    let mut commits = 0;
    let answers = write_watched(&mut db, vec![slow(1), slow(2), slow(3)], &mut |moment| {
        commits += usize::from(moment == CommitMoment::After);
    });
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(commits, 3);
    assert_eq!(accounts(&db), [1, 2, 3]);
}

/// A commit that fails because another process holds the file: all are told, and nothing was written.
#[test]
fn a_commit_that_cannot_begin_fails_all_of_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    db.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(directory.path().join("test.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers = write(&mut db, vec![add(1), add(2)]);
    for answer in &answers {
        assert!(matches!(answer, Err(Error::Commit(_))), "{answer:?}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    assert!(write(&mut db, vec![add(3)])[0].is_ok());
    assert_eq!(accounts(&db), [3]);
}
