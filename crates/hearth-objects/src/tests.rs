use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

const ACCOUNT: &str = "000000000000";

fn store() -> (tempfile::TempDir, ObjectStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(directory.path()).unwrap();
    store.create_bucket(ACCOUNT, "b", 0).unwrap();
    (directory, store)
}

fn object(store: &ObjectStore, bytes: &[u8]) -> NewObject {
    let blob = store.new_blob(ACCOUNT).unwrap();
    std::fs::write(blob.path(), bytes).unwrap();
    NewObject {
        blob,
        size: bytes.len() as u64,
        etag: format!("tag-{}", bytes.len()),
        attributes: Attributes::default(),
    }
}

fn put(store: &ObjectStore, key: &str, bytes: &[u8]) {
    store
        .put(
            ACCOUNT,
            "b",
            key,
            object(store, bytes),
            &WriteCondition::Always,
            1,
        )
        .unwrap();
}

fn read(store: &ObjectStore, key: &str) -> Vec<u8> {
    let (_, mut file) = store.open_object(ACCOUNT, "b", key).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn count_blobs(directory: &Path) -> usize {
    let spreads = std::fs::read_dir(directory.join("blobs")).unwrap();
    spreads
        .map(|spread| std::fs::read_dir(spread.unwrap().path()).unwrap().count())
        .sum()
}

#[test]
fn keys_are_texts_and_not_paths() {
    let (_directory, store) = store();
    for key in ["a", "a/b", "a/", "../../x", "/", &"k".repeat(1024)] {
        put(&store, key, key.as_bytes());
    }
    for key in ["a", "a/b", "a/", "../../x", "/", &"k".repeat(1024)] {
        assert_eq!(read(&store, key), key.as_bytes());
    }
}

#[test]
fn what_is_replaced_or_deleted_leaves_no_file() {
    let (directory, store) = store();
    put(&store, "k", b"one");
    put(&store, "k", b"two!");
    assert_eq!(count_blobs(directory.path()), 1);
    assert_eq!(read(&store, "k"), b"two!");
    store.delete(ACCOUNT, "b", "k").unwrap();
    store.delete(ACCOUNT, "b", "k").unwrap();
    assert_eq!(count_blobs(directory.path()), 0);
}

#[test]
fn a_crash_before_the_index_leaves_nothing_after_the_next_start() {
    let (directory, store) = store();
    put(&store, "k", b"kept");
    let lost = store.new_blob(ACCOUNT).unwrap();
    std::fs::write(lost.path(), b"half").unwrap();
    std::mem::forget(lost);
    drop(store);
    let store = ObjectStore::open(directory.path()).unwrap();
    assert_eq!(count_blobs(directory.path()), 1);
    assert_eq!(read(&store, "k"), b"kept");
}

/// Neither a file that somebody has put there, nor one that takes the place of a directory of blobs.
#[test]
fn stray_files_do_not_keep_the_store_from_opening() {
    let (directory, store) = store();
    put(&store, "k", b"kept");
    drop(store);
    let blobs = directory.path().join("blobs");
    let spread = std::fs::read_dir(&blobs).unwrap().next().unwrap().unwrap();
    let taken: Vec<_> = (0..=255_u8)
        .map(|number| blobs.join(format!("{number:02x}")))
        .filter(|path| *path != spread.path())
        .collect();
    for path in &taken {
        std::fs::write(path, b"stray").unwrap();
    }
    let strangers = [blobs.join("README"), spread.path().join("notes.txt")];
    for path in &strangers {
        std::fs::write(path, b"mine").unwrap();
    }
    let store = ObjectStore::open(directory.path()).unwrap();
    assert_eq!(read(&store, "k"), b"kept");
    assert!(strangers.iter().all(|path| path.exists()));
    for number in 0..64 {
        put(&store, &format!("k{number}"), b"new");
    }
}

/// Whoever opens an object gets one whole version of it, or learns that there is none.
#[test]
fn an_object_that_is_replaced_and_deleted_can_always_be_read() {
    let (directory, store) = store();
    let is_done = AtomicBool::new(false);
    let versions: [&[u8]; 2] = [b"one", b"three"];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300 {
                put(&store, "k", versions[round % 2]);
                if round % 3 == 0 {
                    store.delete(ACCOUNT, "b", "k").unwrap();
                }
            }
            is_done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    match store.open_object(ACCOUNT, "b", "k") {
                        Ok((object, mut file)) => {
                            let mut bytes = Vec::new();
                            file.read_to_end(&mut bytes).unwrap();
                            assert!(versions.contains(&bytes.as_slice()), "{bytes:?}");
                            assert_eq!(object.size, bytes.len() as u64);
                        }
                        Err(ObjectError::NoObject) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(count_blobs(directory.path()), 1);
}

/// A joiner that makes a tag of those of the parts, with this between them.
pub(crate) struct Plain(pub(crate) &'static str);

impl Joiner for Plain {
    fn bytes(&mut self, _: &[u8]) {}

    fn describe(
        self,
        parts: &[Part],
        attributes: Attributes,
    ) -> Result<(String, Attributes), ObjectError> {
        let etags: Vec<_> = parts.iter().map(|part| part.etag.clone()).collect();
        Ok((etags.join(self.0), attributes))
    }
}

/// An upload is joined while its parts are replaced and while it is ended: each outcome is one that S3 has.
#[test]
fn an_upload_that_changes_while_it_is_joined_is_no_failure() {
    let (directory, store) = store();
    for round in 0..40 {
        let id = store
            .create_upload(ACCOUNT, "b", "k", &Attributes::default(), 0)
            .unwrap();
        let upload = MultipartUpload {
            account: ACCOUNT,
            bucket: "b",
            key: "k",
            id: &id,
        };
        let put_part = || {
            let NewObject {
                blob, size, etag, ..
            } = object(&store, b"part");
            store.put_part(upload, 1, blob, size, (&etag, ""), 0)
        };
        put_part().unwrap();
        let named = [(1, "tag-4".to_owned())];
        std::thread::scope(|scope| {
            scope.spawn(|| match round % 2 {
                0 => drop(put_part()),
                _ => drop(store.abort_upload(upload)),
            });
            let joined =
                store.complete_upload(upload, &named, |_| Plain(""), &WriteCondition::Always, 1);
            assert!(
                matches!(joined, Ok(_) | Err(ObjectError::NoUpload)),
                "{joined:?}"
            );
        });
        // Whatever came first, the upload is over.
        assert!(matches!(store.parts(upload), Err(ObjectError::NoUpload)));
    }
    assert!(count_blobs(directory.path()) <= 1);
}

#[test]
fn uploads_that_nobody_goes_on_with_expire() {
    let (directory, store) = store();
    put(&store, "kept", b"kept");
    let upload_with_part = |created_ms, part_ms| {
        let id = store
            .create_upload(ACCOUNT, "b", "k", &Attributes::default(), created_ms)
            .unwrap();
        let upload = MultipartUpload {
            account: ACCOUNT,
            bucket: "b",
            key: "k",
            id: &id,
        };
        let NewObject {
            blob, size, etag, ..
        } = object(&store, b"part");
        store
            .put_part(upload, 1, blob, size, (&etag, ""), part_ms)
            .unwrap();
        id
    };
    for _ in 0..20 {
        upload_with_part(1, 2);
    }
    let active = upload_with_part(1, 10);
    let young = upload_with_part(11, 11);
    let slices: Vec<_> =
        std::iter::from_fn(|| Some(store.expire_uploads(10).unwrap()).filter(|count| *count > 0))
            .collect();
    assert_eq!(slices, [8, 8, 4]);
    assert_eq!(count_blobs(directory.path()), 3);
    for id in [&active, &young] {
        let upload = MultipartUpload {
            account: ACCOUNT,
            bucket: "b",
            key: "k",
            id,
        };
        assert_eq!(store.parts(upload).unwrap().len(), 1);
    }
}

#[test]
fn an_index_of_an_older_release_opens_with_what_it_names() {
    let (directory, store) = store();
    put(&store, "k", b"old");
    drop(store);
    let index = rusqlite::Connection::open(directory.path().join("objects.db")).unwrap();
    index
        .execute_batch(
            "ALTER TABLE bucket DROP COLUMN settings; ALTER TABLE object DROP COLUMN joined;
             ALTER TABLE part DROP COLUMN checksum; DROP INDEX upload_by_key;
             DROP INDEX object_blob; DROP INDEX part_blob;
             DROP TRIGGER bucket_made;
             DROP TRIGGER object_made; DROP TRIGGER object_replaced; DROP TRIGGER object_removed;
             DROP TRIGGER upload_made; DROP TRIGGER upload_removed;
             DROP TRIGGER part_made; DROP TRIGGER part_replaced; DROP TRIGGER part_removed;
             DROP TABLE account;
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(index);
    let store = ObjectStore::open(directory.path()).unwrap();
    assert_eq!(read(&store, "k"), b"old");
    let plan: String = store
        .read(|index| {
            let plan = "EXPLAIN QUERY PLAN SELECT 1 FROM object WHERE blob = 'x'";
            Ok(index.query_row(plan, [], |row| row.get(3))?)
        })
        .unwrap();
    assert!(plan.contains("INDEX object_blob"), "{plan}");
}

#[test]
fn conditions_are_checked_with_the_write() {
    let (directory, store) = store();
    let put = |bytes: &[u8], condition: &WriteCondition| {
        store.put(ACCOUNT, "b", "k", object(&store, bytes), condition, 1)
    };
    assert!(matches!(
        put(b"1", &WriteCondition::Present(None)),
        Err(ObjectError::NoObject)
    ));
    put(b"1", &WriteCondition::Absent).unwrap();
    assert!(matches!(
        put(b"22", &WriteCondition::Absent),
        Err(ObjectError::ConditionFailed)
    ));
    let stale = WriteCondition::Present(Some("tag-9".into()));
    assert!(matches!(
        put(b"22", &stale),
        Err(ObjectError::ConditionFailed)
    ));
    put(b"22", &WriteCondition::Present(Some("tag-1".into()))).unwrap();
    assert_eq!(count_blobs(directory.path()), 1);
}

#[test]
fn buckets_belong_to_accounts_and_must_be_empty_to_go() {
    let (_directory, store) = store();
    assert!(matches!(
        store.create_bucket(ACCOUNT, "b", 0),
        Err(ObjectError::BucketExists)
    ));
    store.create_bucket("111111111111", "b", 0).unwrap();
    put(&store, "k", b"");
    assert!(matches!(
        store.object("111111111111", "b", "k"),
        Err(ObjectError::NoObject)
    ));
    assert!(matches!(
        store.delete_bucket(ACCOUNT, "b"),
        Err(ObjectError::BucketNotEmpty)
    ));
    store.delete(ACCOUNT, "b", "k").unwrap();
    store.delete_bucket(ACCOUNT, "b").unwrap();
    assert!(matches!(
        store.bucket(ACCOUNT, "b"),
        Err(ObjectError::NoBucket)
    ));
}

#[test]
fn parts_are_joined_in_order() {
    let (directory, store) = store();
    let id = store
        .create_upload(ACCOUNT, "b", "k", &Attributes::default(), 0)
        .unwrap();
    let upload = MultipartUpload {
        account: ACCOUNT,
        bucket: "b",
        key: "k",
        id: &id,
    };
    let part = |number, bytes: &[u8]| {
        let NewObject {
            blob, size, etag, ..
        } = object(&store, bytes);
        store
            .put_part(upload, number, blob, size, (&etag, ""), 0)
            .unwrap();
        (number, etag)
    };
    let first = part(1, &vec![b'a'; 5 << 20]);
    let last = part(3, b"end");
    let complete = |named: &[(i32, String)]| {
        store.complete_upload(upload, named, |_| Plain("+"), &WriteCondition::Always, 1)
    };
    let wrong = (3, "other".to_owned());
    assert!(matches!(
        complete(&[first.clone(), wrong]),
        Err(ObjectError::InvalidPart)
    ));
    assert!(matches!(
        complete(&[last.clone(), first.clone()]),
        Err(ObjectError::PartOrder)
    ));
    // Of two with one number the later counts.
    let stale = (1, "other".to_owned());
    let named = [stale, first.clone(), last.clone()];
    let completed = complete(&named).unwrap();
    assert_eq!(completed.etag, format!("{}+{}", first.1, last.1));
    let object = store.object(ACCOUNT, "b", "k").unwrap();
    let sizes: Vec<_> = object
        .parts
        .iter()
        .map(|part| (part.number, part.size))
        .collect();
    assert_eq!(sizes, [(1, 5 << 20), (3, 3)]);
    assert_eq!(object.size, (5 << 20) + 3);
    // Whoever did not hear it may ask again, as long as the object is this one.
    assert_eq!(complete(&named).unwrap(), completed);
    assert_eq!(&read(&store, "k")[5 << 20..], b"end");
    assert_eq!(count_blobs(directory.path()), 1);
    assert!(matches!(store.parts(upload), Err(ObjectError::NoUpload)));
    put(&store, "k", b"another");
    assert!(matches!(complete(&named), Err(ObjectError::NoUpload)));
}

#[test]
fn uploads_are_listed_by_key_in_pages_of_any_size() {
    let (_directory, store) = store();
    for key in ["a/1", "a/2", "b", "b", "c/1"] {
        let none = Attributes::default();
        store.create_upload(ACCOUNT, "b", key, &none, 5).unwrap();
    }
    let all = |delimiter: Option<&str>, prefix: &str, limit: usize| {
        let mut request = UploadsRequest {
            prefix: prefix.to_owned(),
            delimiter: delimiter.map(str::to_owned),
            after: None,
            limit,
        };
        let mut all = Vec::new();
        loop {
            let page = store.uploads(ACCOUNT, "b", &request).unwrap();
            assert!(page.uploads.len() + page.prefixes.len() <= limit);
            all.extend(page.uploads.into_iter().map(|upload| upload.key));
            all.extend(page.prefixes);
            match page.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        all.sort();
        all
    };
    for limit in 1..6 {
        assert_eq!(all(None, "", limit), ["a/1", "a/2", "b", "b", "c/1"]);
        assert_eq!(all(Some("/"), "", limit), ["a/", "b", "b", "c/"]);
        assert_eq!(all(Some("/"), "a/", limit), ["a/1", "a/2"]);
    }
}

#[test]
fn tags_and_settings_change_nothing_else() {
    let (_directory, store) = store();
    put(&store, "k", b"1");
    let before = store.object(ACCOUNT, "b", "k").unwrap();
    let tags = vec![("a".to_owned(), "1".to_owned())];
    store.set_tags(ACCOUNT, "b", "k", &tags).unwrap();
    let mut expected = before.clone();
    expected.attributes.tags.clone_from(&tags);
    assert_eq!(store.object(ACCOUNT, "b", "k").unwrap(), expected);
    let absent = store.set_tags(ACCOUNT, "b", "other", &tags);
    assert!(matches!(absent, Err(ObjectError::NoObject)));
    let change = {
        let tags = tags.clone();
        move |settings: &mut BucketSettings| settings.tags.clone_from(&tags)
    };
    store.change_bucket(ACCOUNT, "b", change).unwrap();
    assert_eq!(store.bucket_settings(ACCOUNT, "b").unwrap().tags, tags);
    let absent = store.bucket_settings(ACCOUNT, "other");
    assert!(matches!(absent, Err(ObjectError::NoBucket)));
}

#[test]
fn small_parts_may_only_be_last_and_aborting_removes_all() {
    let (directory, store) = store();
    let id = store
        .create_upload(ACCOUNT, "b", "k", &Attributes::default(), 0)
        .unwrap();
    let upload = MultipartUpload {
        account: ACCOUNT,
        bucket: "b",
        key: "k",
        id: &id,
    };
    let mut named = Vec::new();
    for number in 1..=2 {
        let NewObject {
            blob, size, etag, ..
        } = object(&store, b"small");
        store
            .put_part(upload, number, blob, size, (&etag, ""), 0)
            .unwrap();
        named.push((number, etag));
    }
    let joined = store.complete_upload(upload, &named, |_| Plain(""), &WriteCondition::Always, 1);
    assert!(matches!(joined, Err(ObjectError::PartTooSmall)));
    store.abort_upload(upload).unwrap();
    assert_eq!(count_blobs(directory.path()), 0);
}

/// Every key and prefix of a bucket, through pages of this size.
fn list_all(
    store: &ObjectStore,
    prefix: &str,
    delimiter: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let mut request = ListingRequest {
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: None,
        limit,
    };
    let mut all = Vec::new();
    loop {
        let page = store.list(ACCOUNT, "b", &request).unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= limit);
        all.extend(page.objects.into_iter().map(|object| object.key));
        all.extend(page.prefixes);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return all,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pages of any size give every key or its prefix exactly once.
    #[test]
    fn listings_equal_their_definition(
        keys in prop::collection::btree_set("[ab/\u{10ffff}]{1,5}", 1..12),
        prefix in "[ab/]{0,2}",
        limit in 1usize..4,
    ) {
        let (_directory, store) = store();
        for key in &keys {
            put(&store, key, b"");
        }
        let below = || keys.iter().filter(|key| key.starts_with(&prefix));
        let expected: BTreeSet<String> = below()
            .map(|key| match key[prefix.len()..].find('/') {
                Some(end) => key[..=prefix.len() + end].to_owned(),
                None => key.clone(),
            })
            .collect();
        let mut rolled_up = list_all(&store, &prefix, Some("/"), limit);
        rolled_up.sort();
        prop_assert_eq!(rolled_up, expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(list_all(&store, &prefix, None, limit), below().cloned().collect::<Vec<_>>());
    }
}
