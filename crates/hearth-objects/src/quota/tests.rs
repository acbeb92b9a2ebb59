use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Attributes, MultipartUpload, NewObject, ObjectCopy, ObjectStore, WriteCondition};

const ACCOUNT: &str = "000000000000";
const OTHER: &str = "999999999999";
const ROW_BYTES: u64 = 8192;

fn store(max_account_bytes: u64) -> (tempfile::TempDir, ObjectStore) {
    let directory = tempfile::tempdir().unwrap();
    let limits = ObjectLimits {
        max_account_bytes,
        max_buckets: 2,
        // `OTHER` may have nothing.
        accounts: [(OTHER.to_owned(), 0)]
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            .into(),
    };
    let store = ObjectStore::open_within(directory.path(), limits).unwrap();
    store.create_bucket(ACCOUNT, "b", 0).unwrap();
    (directory, store)
}

/// Writes as a client does: room first, then bytes.
fn put(store: &ObjectStore, account: &str, key: &str, size: usize) -> Result<(), ObjectError> {
    let mut blob = store.new_blob(account)?;
    blob.take(size as u64)?;
    std::fs::write(blob.path(), vec![b'x'; size]).unwrap();
    let object = NewObject {
        blob,
        size: size as u64,
        etag: format!("tag-{size}"),
        attributes: Attributes {
            headers: BTreeMap::from([("content-type".to_owned(), "é".repeat(size % 7))]),
            metadata: BTreeMap::new(),
            ..Attributes::default()
        },
    };
    store.put(account, "b", key, object, &WriteCondition::Always, 1)
}

fn copy(store: &ObjectStore, from: &str, to: &str) -> Result<(), ObjectError> {
    let copy = ObjectCopy {
        source: ("b", from),
        target: ("b", to),
        attributes: None,
        own_headers: BTreeMap::new(),
        tags: None,
        condition: WriteCondition::Always,
    };
    store.copy(ACCOUNT, copy, |_| Ok(()), 2).map(drop)
}

fn kept(store: &ObjectStore) -> u64 {
    store.read(|index| kept_bytes(index, ACCOUNT)).unwrap()
}

/// What there is, by the definition of the charge.
fn counted(store: &ObjectStore) -> u64 {
    let sql = format!(
        "SELECT (SELECT coalesce(sum({ROW_BYTES} + size + length(CAST(attributes AS BLOB))), 0) FROM object)
              + (SELECT coalesce(sum({ROW_BYTES} + size), 0) FROM part)
              + (SELECT coalesce(sum({ROW_BYTES} + length(CAST(attributes AS BLOB))), 0) FROM upload)"
    );
    let bytes: i64 = store
        .read(|index| Ok(index.query_row(&sql, [], |row| row.get(0))?))
        .unwrap();
    u64::try_from(bytes).unwrap()
}

fn blobs(directory: &tempfile::TempDir) -> usize {
    let spreads = std::fs::read_dir(directory.path().join("blobs")).unwrap();
    spreads
        .map(|spread| std::fs::read_dir(spread.unwrap().path()).unwrap().count())
        .sum()
}

/// Finding M4: what an account keeps is bounded, and room that is given back is room again.
#[test]
fn a_full_account_takes_no_more_until_something_goes() {
    let (directory, store) = store(100_000);
    put(&store, ACCOUNT, "a", 40_000).unwrap();
    put(&store, ACCOUNT, "b", 20_000).unwrap();
    let kept_before = kept(&store);
    assert!(matches!(
        put(&store, ACCOUNT, "c", 40_000),
        Err(ObjectError::AccountFull)
    ));
    assert!(matches!(
        copy(&store, "a", "c"),
        Err(ObjectError::AccountFull)
    ));
    assert_eq!(kept(&store), kept_before);
    assert_eq!(blobs(&directory), 2);
    // Replaced by a smaller one, though the account is nearly full.
    put(&store, ACCOUNT, "a", 10_000).unwrap();
    put(&store, ACCOUNT, "c", 30_000).unwrap();
    store.create_bucket("111111111111", "b", 0).unwrap();
    put(&store, "111111111111", "a", 80_000).unwrap();
    for key in ["a", "b", "c"] {
        store.delete(ACCOUNT, "b", key).unwrap();
    }
    assert_eq!(kept(&store), 0);
}

/// Uploads that run at the same time have the room together that is left, and do not reach the disk beyond it.
#[test]
fn bytes_on_their_way_are_bounded_together() {
    let (_directory, store) = store(100_000);
    let mut uploads: Vec<_> = (0..4).map(|_| store.new_blob(ACCOUNT).unwrap()).collect();
    let taken = uploads.iter_mut().map(|blob| blob.take(30_000));
    let taken: Vec<_> = taken.map(|taken| taken.is_ok()).collect();
    assert_eq!(taken, [true, true, true, false]);
    let mut other = store.new_blob("111111111111").unwrap();
    other.take(90_000).unwrap();
    drop(uploads);
    store.new_blob(ACCOUNT).unwrap().take(100_000).unwrap();
}

/// Finding M4: a copy is a row. Its bytes are there as long as one object has them.
#[test]
fn a_copy_shares_its_bytes_until_the_last_of_them_goes() {
    let (directory, store) = store(u64::MAX >> 1);
    put(&store, ACCOUNT, "a", 1000).unwrap();
    copy(&store, "a", "b").unwrap();
    copy(&store, "b", "c").unwrap();
    let same = copy(&store, "c", "c");
    assert!(matches!(same, Err(ObjectError::CopyToItself)));
    assert_eq!(blobs(&directory), 1);
    store.delete(ACCOUNT, "b", "a").unwrap();
    put(&store, ACCOUNT, "b", 7).unwrap();
    assert_eq!(blobs(&directory), 2);
    drop(store);
    let store = ObjectStore::open(directory.path()).unwrap();
    let (object, file) = store.open_object(ACCOUNT, "b", "c").unwrap();
    assert_eq!((object.size, file.metadata().unwrap().len()), (1000, 1000));
    store.delete(ACCOUNT, "b", "c").unwrap();
    assert_eq!(blobs(&directory), 1);
}

#[test]
fn buckets_are_bounded() {
    let (_directory, store) = store(1);
    store.create_bucket(ACCOUNT, "c", 0).unwrap();
    let more = store.create_bucket(ACCOUNT, "d", 0);
    assert!(matches!(more, Err(ObjectError::TooManyBuckets)));
    let again = store.create_bucket(ACCOUNT, "c", 0);
    assert!(matches!(again, Err(ObjectError::BucketExists)));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Copy(u8, u8),
    Delete(u8),
    Part(i32, usize),
    Complete(i32),
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8, 0..2000_usize).prop_map(|(key, size)| Step::Put(key, size)),
        (0..4_u8, 0..4_u8).prop_map(|(from, to)| Step::Copy(from, to)),
        (0..4_u8).prop_map(Step::Delete),
        (1..4_i32, 0..2000_usize).prop_map(|(number, size)| Step::Part(number, size)),
        (1..4_i32).prop_map(Step::Complete),
        Just(Step::Abort),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is done, in whichever order: the index has counted what it holds, and each of its blobs is there.
    #[test]
    fn what_is_counted_is_what_there_is(steps in prop::collection::vec(step(), 1..30)) {
        let (_directory, store) = store(40_000);
        let mut id = store.create_upload(ACCOUNT, "b", "up", &Attributes::default(), 0).unwrap();
        for step in steps {
            let upload = MultipartUpload { account: ACCOUNT, bucket: "b", key: "up", id: &id };
            // Some are refused: nothing there, or no room.
            match step {
                Step::Put(key, size) => drop(put(&store, ACCOUNT, &key.to_string(), size)),
                Step::Copy(from, to) => drop(copy(&store, &from.to_string(), &to.to_string())),
                Step::Delete(key) => store.delete(ACCOUNT, "b", &key.to_string()).unwrap(),
                Step::Part(number, size) => {
                    let blob = store.new_blob(ACCOUNT).unwrap();
                    std::fs::write(blob.path(), vec![b'x'; size]).unwrap();
                    drop(store.put_part(upload, number, blob, size as u64, ("tag", ""), 1));
                }
                Step::Complete(number) => {
                    let named = [(number, "tag".to_owned())];
                    let always = &WriteCondition::Always;
                    if store.complete_upload(upload, &named, |_| crate::tests::Plain(""), always, 2).is_ok() {
                        store.delete(ACCOUNT, "b", "up").unwrap();
                        id = store.create_upload(ACCOUNT, "b", "up", &Attributes::default(), 0).unwrap();
                    }
                }
                Step::Abort => {
                    store.abort_upload(upload).unwrap();
                    id = store.create_upload(ACCOUNT, "b", "up", &Attributes::default(), 0).unwrap();
                }
            }
            prop_assert_eq!(kept(&store), counted(&store));
            prop_assert!(kept(&store) <= 40_000);
            for key in 0..4 {
                match store.open_object(ACCOUNT, "b", &key.to_string()) {
                    Ok((object, file)) => prop_assert_eq!(object.size, file.metadata().unwrap().len()),
                    Err(error) => prop_assert!(matches!(error, ObjectError::NoObject), "{:?}", error),
                }
            }
        }
    }
}

#[test]
fn an_account_has_the_quota_of_its_own() {
    let (_directory, store) = store(1 << 20);
    store.create_bucket(OTHER, "b", 0).unwrap();
    put(&store, ACCOUNT, "k", 100).unwrap();
    let refused = put(&store, OTHER, "k", 100);
    assert!(
        matches!(refused, Err(ObjectError::AccountFull)),
        "{refused:?}"
    );
}
