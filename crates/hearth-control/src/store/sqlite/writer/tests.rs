use super::*;
use crate::account::{AccessKey, Account, KeyStatus, SecretKey};
use crate::id::AccountId;
use crate::store::sqlite::{connect, schema};
use crate::store::{Change, Guard};
use crate::time::Timestamp;

fn database(directory: &tempfile::TempDir) -> Connection {
    let path = directory.path().join("control.sqlite");
    drop(std::fs::File::create(&path).unwrap());
    let mut db = connect(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    schema::migrate(&mut db).unwrap();
    db
}

fn account(number: u64) -> Change {
    Change::AddAccount(Account {
        id: AccountId::from_number(number).unwrap(),
        created_at: Timestamp::from_unix_ms(1),
    })
}

/// Too large for the database once its size is limited.
fn huge() -> Batch {
    let key = AccessKey {
        id: "AKIAHUGEHUGEHUGEHUGE".parse().unwrap(),
        secret: SecretKey::new("s".repeat(4 << 20)),
        account: AccountId::from_number(1).unwrap(),
        status: KeyStatus::Active,
        created_at: Timestamp::from_unix_ms(1),
    };
    Batch::new()
        .change(account(9))
        .change(Change::AddAccessKey(key))
}

fn write_all(db: &mut Connection, batches: Vec<Batch>) -> Vec<Result<Verdict>> {
    let (group, mut replies): (Vec<_>, Vec<_>) = batches
        .into_iter()
        .map(|batch| {
            let (reply, answer) = oneshot::channel();
            (Request { batch, reply }, answer)
        })
        .unzip();
    for (reply, answer) in write_group(db, group) {
        reply.send(answer).unwrap();
    }
    let answers = replies.iter_mut().map(|reply| reply.try_recv().unwrap());
    answers.collect()
}

fn accounts(db: &Connection) -> Vec<i64> {
    let mut query = db
        .prepare("SELECT CAST(id AS INTEGER) FROM account ORDER BY id")
        .unwrap();
    let found = query.query_map([], |row| row.get(0)).unwrap();
    found.map(|row| row.unwrap()).collect()
}

/// The whole transaction is rolled back in the middle of a group: what was answered is what is there.
#[test]
fn a_transaction_that_is_rolled_back_fails_only_the_batch_that_caused_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut db = database(&directory);
    let pages: i64 = db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    db.pragma_update(None, "max_page_count", pages + 64)
        .unwrap();

    let one = |number| Batch::new().change(account(number));
    let guarded = one(4).guard(Guard::AccountPresent(AccountId::from_number(9).unwrap()));
    let answers = write_all(
        &mut db,
        vec![one(1), huge(), one(2), huge(), guarded, one(3)],
    );

    assert!(matches!(answers[0], Ok(Verdict::Committed)), "{answers:?}");
    for at in [1, 3] {
        let error = answers[at].as_ref().unwrap_err();
        let source = std::error::Error::source(error).unwrap();
        assert!(source.to_string().contains("full"), "{source}");
    }
    assert!(matches!(answers[2], Ok(Verdict::Committed)), "{answers:?}");
    assert!(matches!(answers[4], Ok(Verdict::Blocked(_))), "{answers:?}");
    assert!(matches!(answers[5], Ok(Verdict::Committed)), "{answers:?}");
    assert_eq!(accounts(&db), [1, 2, 3]);
    assert!(db.is_autocommit());

    // And it goes on.
    assert!(write_all(&mut db, vec![one(5)])[0].is_ok());
    assert_eq!(accounts(&db), [1, 2, 3, 5]);
}
