//! Files of releases: today's writer writes the newest one to the byte, and today's reader reads all of them. A released file
//! is never changed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use rusqlite::Connection;

use super::*;

/// A bucket with two objects, of which one has attributes, and an upload with a part.
const NEWEST: &str = include_str!("goldens/schema-4.sql");
/// The same before blobs had indexes, before accounts were charged, and before parts had checksums.
const OLDER: [&str; 3] = [
    include_str!("goldens/schema-1.sql"),
    include_str!("goldens/schema-2.sql"),
    include_str!("goldens/schema-3.sql"),
];

const ACCOUNT: &str = "000000000007";
const NOW: i64 = 1_800_000_000_000;

/// What stands in the files for blobs and the upload, whose names are random.
const BLOBS: [&str; 3] = [
    "aa000000000040008000000000000001",
    "aa000000000040008000000000000002",
    "aa000000000040008000000000000003",
];
const UPLOAD: &str = "bb000000000040008000000000000001";

fn attributes() -> Attributes {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Attributes {
        headers: [
            ("content-type", "text/plain; charset=\"utf-8\""),
            ("x-amz-checksum-crc32", "AAAAAA=="),
        ]
        .map(pair)
        .into(),
        metadata: BTreeMap::from([pair(("owner", "it's ü"))]),
        tags: Vec::new(),
    }
}

fn text(directory: &Path) -> String {
    let db = Connection::open(directory.join("objects.db")).unwrap();
    hearth_sqlite::dump(&db).unwrap()
}

fn upload(id: &str) -> MultipartUpload<'_> {
    MultipartUpload {
        account: ACCOUNT,
        bucket: "b",
        key: "up/load",
        id,
    }
}

#[test]
fn todays_writer_writes_the_newest_file_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(directory.path()).unwrap();
    let mut names = Vec::new();
    let mut blob = || {
        let blob = store.new_blob(ACCOUNT).unwrap();
        std::fs::write(blob.path(), b"bytes").unwrap();
        names.push(blob.name.clone());
        blob
    };
    store.create_bucket(ACCOUNT, "b", NOW).unwrap();
    let given = [("plain", Attributes::default()), ("told", attributes())];
    for (key, attributes) in given {
        let object = NewObject {
            blob: blob(),
            size: 5,
            etag: format!("tag-{key}"),
            attributes,
        };
        let always = &WriteCondition::Always;
        store
            .put(ACCOUNT, "b", key, object, always, NOW + 1)
            .unwrap();
    }
    let id = store
        .create_upload(ACCOUNT, "b", "up/load", &attributes(), NOW + 2)
        .unwrap();
    store
        .put_part(upload(&id), 1, blob(), 5, ("tag-part", ""), NOW + 3)
        .unwrap();
    drop(store);
    let written = names
        .iter()
        .zip(BLOBS)
        .fold(text(directory.path()), |text, (name, golden)| {
            text.replace(name, golden)
        });
    assert_eq!(written.replace(&id, UPLOAD), NEWEST);
}

fn is_read_whole(directory: &Path, text: &str) {
    let blobs = directory.join("blobs").join("aa");
    std::fs::create_dir_all(&blobs).unwrap();
    for (blob, bytes) in BLOBS.iter().zip(["one", "two", "part"]) {
        std::fs::write(blobs.join(blob), bytes).unwrap();
    }
    let db = Connection::open(directory.join("objects.db")).unwrap();
    db.execute_batch(text).unwrap();
    drop(db);
    let store = ObjectStore::open(directory).unwrap();
    let buckets = store.buckets(ACCOUNT).unwrap();
    let bucket = Bucket {
        name: "b".to_owned(),
        created_ms: NOW,
    };
    assert_eq!(buckets, [bucket]);
    for (key, attributes, content) in [
        ("plain", Attributes::default(), "one"),
        ("told", attributes(), "two"),
    ] {
        let (object, mut file) = store.open_object(ACCOUNT, "b", key).unwrap();
        let expected = Object {
            key: key.to_owned(),
            size: 5,
            etag: format!("tag-{key}"),
            modified_ms: NOW + 1,
            attributes,
            parts: Vec::new(),
        };
        assert_eq!(object, expected);
        let mut bytes = String::new();
        file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, content);
    }
    let parts = store.parts(upload(UPLOAD)).unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(
        (parts[0].number, parts[0].size, parts[0].modified_ms),
        (1, 5, NOW + 3)
    );
    // The attributes of the upload become those of its object.
    let named = [(1, "tag-part".to_owned())];
    let always = &WriteCondition::Always;
    store
        .complete_upload(
            upload(UPLOAD),
            &named,
            |_| crate::tests::Plain(""),
            always,
            NOW + 4,
        )
        .unwrap();
    let (object, _) = store.open_object(ACCOUNT, "b", "up/load").unwrap();
    assert_eq!(object.attributes, attributes());
}

#[test]
fn todays_reader_reads_the_newest_file() {
    let directory = tempfile::tempdir().unwrap();
    is_read_whole(directory.path(), NEWEST);
}

/// A file of the current release is opened without any change to it, and one of an older release becomes the same.
#[test]
fn opening_a_file_makes_it_the_newest_and_changes_nothing_else() {
    for file in OLDER.into_iter().chain([NEWEST]) {
        let directory = tempfile::tempdir().unwrap();
        let db = Connection::open(directory.path().join("objects.db")).unwrap();
        db.execute_batch(file).unwrap();
        drop(db);
        drop(ObjectStore::open(directory.path()).unwrap());
        assert_eq!(text(directory.path()), NEWEST);
    }
}

#[test]
fn todays_reader_reads_files_of_older_releases() {
    for older in OLDER {
        let directory = tempfile::tempdir().unwrap();
        is_read_whole(directory.path(), older);
    }
}
