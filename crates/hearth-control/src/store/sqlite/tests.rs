use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::store::{Change, Guard, IntentSubject, StoreError};

mod changes;

fn open(directory: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&directory.path().join("control.sqlite")).unwrap()
}

fn account(number: u64) -> Account {
    Account {
        id: AccountId::from_number(number).unwrap(),
        created_at: Timestamp::from_unix_ms(1),
    }
}

#[tokio::test]
async fn a_batch_happens_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let guarded = Batch::new()
        .guard(Guard::NoAccounts)
        .change(Change::AddAccount(account(1)));
    assert_eq!(
        store.commit(guarded.clone()).await.unwrap(),
        Verdict::Committed
    );
    assert_eq!(
        store.commit(guarded).await.unwrap(),
        Verdict::Blocked(Guard::NoAccounts)
    );

    // The second change breaks the primary key, so the first must not stay.
    let torn = Batch::new()
        .change(Change::AddAccount(account(2)))
        .change(Change::AddAccount(account(1)));
    assert!(store.commit(torn).await.is_err());
    assert_eq!(store.accounts().await.unwrap(), vec![account(1)]);
}

#[tokio::test]
async fn batches_that_share_a_commit_do_not_share_a_fate() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&directory));
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..200 {
        let store = Arc::clone(&store);
        // Every number comes twice: one of the two must fail, and only that one.
        writes.spawn(async move {
            store
                .commit(Batch::new().change(Change::AddAccount(account(number / 2))))
                .await
                .is_ok()
        });
    }
    let outcomes = writes.join_all().await;
    assert_eq!(outcomes.into_iter().filter(|done| *done).count(), 100);
    assert_eq!(store.accounts().await.unwrap().len(), 100);
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store
        .commit(Batch::new().change(Change::AddAccount(account(7))))
        .await
        .unwrap();
    drop(store);
    assert_eq!(open(&directory).accounts().await.unwrap(), vec![account(7)]);
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory));
    let path = directory.path().join("control.sqlite");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert!(matches!(
        SqliteStore::open(&path),
        Err(StoreError::Database(hearth_sqlite::Error::Newer {
            found: 99,
            ..
        }))
    ));
}

/// A file of release 0.1 becomes one of today, with all that it holds.
#[tokio::test]
async fn an_older_file_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sqlite");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(schema::STEPS[0]).unwrap();
    db.execute_batch("INSERT INTO account VALUES ('000000000007', 1); PRAGMA user_version = 1")
        .unwrap();
    drop(db);
    let store = open(&directory);
    assert_eq!(store.accounts().await.unwrap(), vec![account(7)]);
    assert_eq!(store.living_microvms().await.unwrap(), Vec::new());
    drop(store);
    let db = Connection::open(&path).unwrap();
    let version: i64 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(usize::try_from(version).unwrap(), schema::STEPS.len());
    let newest = "SELECT parent, active_by_execs, active_by_guest_cpu, generation FROM microvm";
    assert!(db.prepare(newest).is_ok());
}

#[tokio::test]
async fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store
        .commit(Batch::new().change(Change::AddAccount(account(1))))
        .await
        .unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn the_journal_has_one_open_intent_per_subject() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let subject = IntentSubject::Microvm(MicrovmId::generate());
    let intend = |what: &str| {
        let intent = Intent {
            subject: subject.clone(),
            what: what.to_owned(),
            at: Timestamp::from_unix_ms(5),
        };
        Batch::new().change(Change::Intend(intent))
    };
    store.commit(intend("launch")).await.unwrap();
    store.commit(intend("remove")).await.unwrap();
    let open = store.open_intents().await.unwrap();
    assert_eq!(
        open.iter()
            .map(|intent| intent.what.as_str())
            .collect::<Vec<_>>(),
        ["remove"]
    );
    let done = Change::Conclude(subject, "done".to_owned(), Timestamp::from_unix_ms(6));
    store.commit(Batch::new().change(done)).await.unwrap();
    assert_eq!(store.open_intents().await.unwrap(), Vec::new());
}

/// A file system with room for little more than the store itself, and a file that takes the rest of it.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", directory.path(), "tmpfs", flags, c"size=8m").unwrap();
        Self(directory)
    }

    /// Takes all but a few pages.
    fn fill(&self, pages_left: u64) {
        let found = rustix::fs::statvfs(self.0.path()).unwrap();
        let taken = found.f_bavail.saturating_sub(pages_left) * found.f_frsize;
        let file = std::fs::File::create(self.filler()).unwrap();
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, taken).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        let _ = rustix::mount::unmount(self.0.path(), flags);
    }
}

/// Wherever in a commit the room ends: it fails as a whole, reading goes on, and so does writing once there is room again.
#[tokio::test]
async fn a_full_disk_fails_commits_and_nothing_else() {
    // Only root mounts.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let disk = SmallDisk::mount();
    let store = open(&disk.0);
    let mut number = 0;
    let mut add = || {
        let accounts = number..number + 400;
        number = accounts.end;
        let batch = accounts.fold(Batch::new(), |batch, number| {
            batch.change(Change::AddAccount(account(number)))
        });
        store.commit(batch)
    };
    add().await.unwrap();
    let (mut committed, mut failures) = (1, 0);
    for pages_left in 0..8 {
        disk.fill(pages_left);
        for _ in 0..4 {
            match add().await {
                Ok(_) => committed += 1,
                Err(error) => {
                    assert!(error.to_string().contains("full"), "{error}");
                    failures += 1;
                }
            }
            assert_eq!(store.accounts().await.unwrap().len(), committed * 400);
        }
        disk.empty();
        add().await.unwrap();
        committed += 1;
    }
    assert!(failures > 0);
    drop(store);
    let accounts = open(&disk.0).accounts().await.unwrap();
    assert_eq!(accounts.len(), committed * 400);
}
