use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use proptest::prelude::*;
use rawzip::{ZipArchiveWriter, path::EntryPath};

use super::*;

/// An entry to write: name, mode (0: none), content.
type Item<'a> = (&'a str, u32, &'a [u8]);

const DOCKER: Item<'static> = ("Dockerfile", 0o100_644, b"FROM scratch\n");

fn zip(items: &[Item<'_>]) -> Vec<u8> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, mode, content) in items {
        let name = EntryPath::verbatim(name.as_bytes());
        if name_is_directory(&name) {
            let mut directory = archive.new_dir(name);
            if *mode != 0 {
                directory = directory.unix_permissions(*mode);
            }
            directory.create().unwrap();
            continue;
        }
        let mut file = archive
            .new_file(name)
            .compression_method(CompressionMethod::DEFLATE);
        if *mode != 0 {
            file = file.unix_permissions(*mode);
        }
        let (mut entry, config) = file.start().unwrap();
        let encoder =
            flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap()
}

fn name_is_directory(name: &EntryPath<'_>) -> bool {
    format!("{name:?}").contains("/\"")
}

fn open_bytes(bytes: &[u8], limits: &ArchiveLimits) -> Result<Archive, ArchiveError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Archive::open(file.path(), limits)
}

fn open(items: &[Item<'_>]) -> Result<Archive, ArchiveError> {
    open_bytes(&zip(items), &ArchiveLimits::default())
}

/// What the tar stream says: kind, permissions, content or link target.
fn unpack(archive: &Archive) -> BTreeMap<String, (tar::EntryType, u32, Vec<u8>)> {
    let mut bytes = Vec::new();
    archive.write_tar(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(target) = entry.link_name_bytes() {
            content = target.into_owned();
        }
        let header = entry.header();
        found.insert(
            name.trim_end_matches('/').to_owned(),
            (header.entry_type(), header.mode().unwrap(), content),
        );
    }
    found
}

#[test]
fn an_honest_zip_becomes_a_tar() {
    let long = format!("{}/file", "d".repeat(150));
    let archive = open(&[
        DOCKER,
        ("src/", 0o040_750, b""),
        ("src/run.sh", 0o104_755, b"#!/bin/sh\n"),
        ("src/link", 0o120_777, b"../Dockerfile"),
        ("./plain", 0, b"x"),
        (&long, 0o100_600, b"deep"),
    ])
    .unwrap();
    assert_eq!(archive.entries(), 6);
    let found = unpack(&archive);
    let expect = |name: &str, kind, mode, content: &[u8]| {
        assert_eq!(found[name], (kind, mode, content.to_vec()), "{name}");
    };
    expect("Dockerfile", tar::EntryType::Regular, 0o644, DOCKER.2);
    expect("src", tar::EntryType::Directory, 0o750, b"");
    expect("src/run.sh", tar::EntryType::Regular, 0o755, b"#!/bin/sh\n");
    expect("src/link", tar::EntryType::Symlink, 0o777, b"../Dockerfile");
    assert_eq!(found["plain"].2, b"x");
    assert_eq!(found[&long].2, b"deep");
}

#[test]
fn folders_come_last_and_times_are_kept() {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    let time = |seconds| rawzip::time::UtcDateTime::from_unix(seconds);
    for name in ["empty/", "empty/", "d/", "d/e/"] {
        let directory = archive.new_dir(EntryPath::verbatim(name.as_bytes()));
        directory
            .last_modified(time(1_000_000_000))
            .create()
            .unwrap();
    }
    for (name, seconds) in [("Dockerfile", 1_600_000_001), ("d/e/old", -5)] {
        let file = archive.new_file(EntryPath::verbatim(name.as_bytes()));
        let (mut entry, config) = file.last_modified(time(seconds)).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(b"FROM a").unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    let archive = open_bytes(&archive.finish().unwrap(), &ArchiveLimits::default()).unwrap();
    let mut bytes = Vec::new();
    archive.write_tar(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        (
            name.trim_end_matches('/').to_owned(),
            entry.header().mtime().unwrap(),
        )
    });
    let found: Vec<(String, u64)> = entries.collect();
    let folder = 1_000_000_000;
    let expected = [
        ("Dockerfile", 1_600_000_001),
        ("d/e/old", 0),
        ("empty", folder),
        ("empty", folder),
        ("d/e", folder),
        ("d", folder),
    ];
    assert_eq!(found, expected.map(|(name, time)| (name.to_owned(), time)));
}

#[test]
fn what_is_no_zip_is_refused() {
    let limits = ArchiveLimits::default();
    for bytes in [&b""[..], b"FROM scratch\n", &[0; 4096]] {
        let error = open_bytes(bytes, &limits).unwrap_err();
        assert!(matches!(error, ArchiveError::NotAZip(_)), "{error}");
    }
    let missing = Archive::open(Path::new("/does/not/exist"), &limits);
    assert!(matches!(missing, Err(ArchiveError::Read(_))));
}

#[test]
fn a_file_is_found_by_its_whole_name() {
    let archive = open(&[
        DOCKER,
        ("sub/file", 0o100_644, &b""[..]),
        ("link", 0o120_777, b"a"),
        ("long", 0o100_644, b"0123456789"),
    ])
    .unwrap();
    for name in ["dockerfile", "file", "sub", "link"] {
        assert!(!archive.has_file(name), "{name}");
        assert!(matches!(
            archive.text(name, 100),
            Err(ArchiveError::NoFile(_))
        ));
    }
    let text = archive.text("Dockerfile", 100).unwrap();
    assert_eq!(text.as_deref(), Some("FROM scratch\n"));
    assert_eq!(archive.text("long", 9).unwrap(), None);
}

#[test]
fn bad_names_are_refused() {
    type Is = fn(&ArchiveError) -> bool;
    let cases: &[(&str, Is)] = &[
        ("/etc/passwd", |e| {
            matches!(e, ArchiveError::AbsoluteName(_))
        }),
        ("../up", |e| matches!(e, ArchiveError::Traversal(_))),
        ("a/../../up", |e| matches!(e, ArchiveError::Traversal(_))),
        ("a\0b", |e| matches!(e, ArchiveError::MalformedName(_))),
        ("Dockerfile", |e| matches!(e, ArchiveError::Duplicate(_))),
        ("Dockerfile/x", |e| matches!(e, ArchiveError::BelowFile(_))),
    ];
    for (name, is_expected) in cases {
        let error = open(&[DOCKER, (name, 0o100_644, b"x")]).unwrap_err();
        assert!(is_expected(&error), "{name}: {error:?}");
    }
    let long = "x".repeat(1025);
    let error = open(&[DOCKER, (&long, 0o100_644, b"")]).unwrap_err();
    assert!(matches!(error, ArchiveError::NameTooLong(_)));
}

#[test]
fn links_are_kept_and_nothing_lies_below_them() {
    for target in ["/usr/bin/python3", "../../outside", "a/../..", "nowhere"] {
        let link = ("d/link", 0o120_777, target.as_bytes());
        let found = unpack(&open(&[DOCKER, link]).unwrap());
        let (kind, _, kept) = &found["d/link"];
        assert_eq!(
            (*kind, kept.as_slice()),
            (tar::EntryType::Symlink, target.as_bytes())
        );
    }
    for target in ["", "a\0b"] {
        let archive = open(&[DOCKER, ("link", 0o120_777, target.as_bytes())]).unwrap();
        let error = archive.write_tar(io::sink()).unwrap_err();
        assert!(matches!(error, ArchiveError::MalformedName(_)), "{error:?}");
    }
    let error = open(&[
        DOCKER,
        ("link", 0o120_777, b"."),
        ("link/x", 0o100_644, b""),
    ])
    .unwrap_err();
    assert!(matches!(error, ArchiveError::BelowFile(_)));
    let error = open(&[DOCKER, ("pipe", 0o010_644, b"")]).unwrap_err();
    assert!(matches!(error, ArchiveError::Kind(_)));
}

#[test]
fn sizes_have_limits() {
    let strict = ArchiveLimits {
        archive_bytes: 1 << 20,
        entries: 3,
        content_bytes: 64 << 20,
        ..ArchiveLimits::default()
    };
    let many: Vec<Item<'_>> = ["Dockerfile", "a", "b", "c"]
        .map(|name| (name, 0o100_644, &b""[..]))
        .to_vec();
    let error = open_bytes(&zip(&many), &strict).unwrap_err();
    assert!(matches!(error, ArchiveError::TooManyEntries { limit: 3 }));
    assert!(open_bytes(&zip(&many[..3]), &strict).is_ok());

    let error = open_bytes(&vec![0; (1 << 20) + 1], &strict).unwrap_err();
    assert!(matches!(error, ArchiveError::ArchiveTooLarge { .. }));

    let zeros = vec![0; 40 << 20];
    let error = open_bytes(&zip(&[DOCKER, ("zeros", 0o100_644, &zeros)]), &strict).unwrap_err();
    assert!(
        matches!(error, ArchiveError::RatioTooLarge { .. }),
        "{error:?}"
    );
    let two = zip(&[DOCKER, ("a", 0o100_644, &zeros), ("b", 0o100_644, &zeros)]);
    let error = open_bytes(&two, &strict).unwrap_err();
    assert!(matches!(error, ArchiveError::ContentTooLarge { .. }));
}

#[test]
fn content_that_lies_is_noticed() {
    let content = b"0123456789".repeat(100);
    let mut bytes = zip(&[DOCKER, ("data", 0o100_644, &content)]);
    // The last central directory record's uncompressed size (APPNOTE.TXT 4.3.12: 22 bytes before the name's length).
    let record = bytes
        .windows(4)
        .rposition(|window| window == b"PK\x01\x02")
        .unwrap();
    for promised in [10_u32, 5000] {
        bytes[record + 24..record + 28].copy_from_slice(&promised.to_le_bytes());
        let archive = open_bytes(&bytes, &ArchiveLimits::default()).unwrap();
        let error = archive.write_tar(io::sink()).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error:?}");
        assert!(archive.verify().is_err());
    }
}

#[test]
fn a_receiver_that_fails_is_not_the_zips_fault() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let archive = open(&[DOCKER]).unwrap();
    let error = archive.write_tar(Broken).unwrap_err();
    assert!(matches!(error, ArchiveError::Sink(_)));
}

proptest! {
    /// Whatever names say: what is accepted, no path of it leads out.
    #[test]
    fn accepted_names_stay_inside(name in r"[a./\\]{1,12}", is_of_unix in any::<bool>()) {
        let raw = RawName { bytes: name.as_bytes(), says_utf8: false, is_of_unix };
        if let Ok(accepted) = name::check(raw, 64) {
            let parts: Vec<_> = Path::new(&accepted).components().collect();
            let is_plain = |part: &std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            prop_assert!(parts.iter().all(is_plain), "{accepted:?}");
        }
    }

    /// No bytes make it panic, and damage is never passed on as content.
    #[test]
    fn damage_is_an_error(position in 0_usize..400, byte in any::<u8>()) {
        let content = b"the content".repeat(10);
        let mut bytes = zip(&[DOCKER, ("data", 0o100_644, &content)]);
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(archive) = open_bytes(&bytes, &ArchiveLimits::default()) {
            let mut tar = Vec::new();
            if archive.write_tar(&mut tar).is_ok() && archive.entries() == 2 {
                let found = unpack(&archive);
                for (kind, _, bytes) in found.values() {
                    let is_known = bytes == &content || bytes == DOCKER.2;
                    prop_assert!(is_known || *kind != tar::EntryType::Regular);
                }
            }
        }
    }
}

/// Finding L16: every parent of every name was hashed, 13 GB for the longest names that are taken.
#[test]
fn deep_names_are_compared_and_not_taken_apart() {
    let count: u32 = 4096;
    let deep = "a/".repeat(505);
    let names: Vec<String> = (0..count).map(|number| format!("{deep}{number}")).collect();
    assert!(
        names
            .iter()
            .all(|name| name.len() <= ArchiveLimits::default().name_bytes)
    );
    let mut tree: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), Kind::File))
        .collect();
    let mut comparisons = 0_u32;
    sort_as_tree(&mut tree, |a, b| {
        comparisons += 1;
        tree_order(a, b)
    })
    .unwrap();
    // Two for each name and each power of two below their number; parents would be 505 for each name.
    let bound = 2 * count * count.ilog2();
    assert!(comparisons <= bound, "{comparisons} of {bound}");
}

proptest! {
    /// Neighbours say the same as asking for every parent of every name.
    #[test]
    fn neighbours_show_what_lies_below_a_file(
        items in prop::collection::vec(("[ab!-]{1,2}(/[ab!-]{1,2}){0,3}", any::<bool>()), 0..12)
    ) {
        let kind = |is_file: bool| if is_file { Kind::File } else { Kind::Directory };
        let mut tree: Vec<_> = items
            .iter()
            .map(|(name, is_file)| (name.as_str(), kind(*is_file)))
            .collect();
        let kinds: BTreeMap<&str, Kind> = tree.iter().copied().collect();
        let is_file = |name: &str| kinds.get(name) == Some(&Kind::File);
        let files = tree.iter().filter(|(_, kind)| *kind == Kind::File);
        let is_unique = files.clone().map(|(name, _)| name).collect::<BTreeSet<_>>().len() == files.count()
            && tree.iter().all(|(name, kind)| kinds[name] == *kind);
        let is_above = |name: &str| name.match_indices('/').any(|(end, _)| is_file(&name[..end]));
        let is_good = is_unique && !kinds.keys().any(|name| is_above(name));
        prop_assert_eq!(sort_as_tree(&mut tree, tree_order).is_ok(), is_good);
    }
}
