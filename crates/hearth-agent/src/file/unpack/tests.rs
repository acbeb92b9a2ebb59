use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;

use hearth_wire::agent::Chunk;
use hearth_wire::frame;
use tar::{Builder, Header};

use super::*;
use crate::file::pack;

/// The user of the tests, whom they may give files to.
fn me() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// A target directory with a neighbour that nobody may touch.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("top")).unwrap();
        fs::write(directory.path().join("outside"), "untouched").unwrap();
        Self { directory }
    }

    fn top(&self) -> std::path::PathBuf {
        self.directory.path().join("top")
    }

    fn unpack(&self, archive: &[u8]) -> Result<(), Refusal> {
        let top = File::open(self.top()).unwrap();
        let unpacked = receive(Cursor::new(archive), &top.into(), me());
        let outside = self.directory.path();
        assert_eq!(
            fs::read_to_string(outside.join("outside")).unwrap(),
            "untouched"
        );
        assert_eq!(
            fs::read_dir(outside).unwrap().count(),
            2,
            "something got out"
        );
        unpacked
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.top().join(path)).unwrap()
    }
}

/// An archive of entries whose names nobody has looked at.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let data = if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            ""
        } else {
            *content
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// What a host receives of a directory.
fn packed(top: &Path) -> Vec<u8> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let top = File::open(top).unwrap();
    let packing = std::thread::spawn(move || {
        let mut stream = File::from(OwnedFd::from(theirs));
        pack::send(&mut stream, &top.into()).unwrap();
    });
    let mut stream = File::from(OwnedFd::from(ours));
    let mut archive = Vec::new();
    loop {
        let Chunk(piece) = frame::read(&mut stream).unwrap();
        if piece.is_empty() {
            packing.join().unwrap();
            return archive;
        }
        archive.extend(piece);
    }
}

#[test]
fn a_tree_comes_back_as_it_went() {
    let (from, to) = (Place::new(), Place::new());
    let top = from.top();
    let deep = format!("{}/{}", "d".repeat(200), "e".repeat(200));
    fs::create_dir_all(top.join(&deep)).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("file"), "content").unwrap();
    fs::set_permissions(top.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    let large = vec![7; 300_000];
    fs::write(top.join(&deep).join("large"), &large).unwrap();
    fs::hard_link(top.join("file"), top.join("second")).unwrap();
    symlink("../outside", top.join("link")).unwrap();
    let pipe = top.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();

    to.unpack(&packed(&top)).unwrap();
    assert_eq!(
        (to.read("file"), to.read("second")),
        ("content".to_owned(), "content".to_owned())
    );
    let [before, after] = [&top, &to.top()].map(|top| fs::metadata(top.join("file")).unwrap());
    assert_eq!(
        (after.mode(), after.mtime()),
        (before.mode(), before.mtime())
    );
    assert_eq!(fs::read(to.top().join(&deep).join("large")).unwrap(), large);
    assert_eq!(
        fs::read_link(to.top().join("link")).unwrap(),
        Path::new("../outside")
    );
    assert!(to.top().join("empty").is_dir());
    assert!(!to.top().join("pipe").exists() && !to.top().join("socket").exists());
    // A second time over the first, and nothing beside it.
    to.unpack(&packed(&top)).unwrap();
    assert_eq!(fs::read_dir(to.top()).unwrap().count(), 5);
}

#[test]
fn no_name_leads_out() {
    use EntryType::{Link, Regular, Symlink};
    for entries in [
        &[("../outside", Regular, "x")][..],
        &[("a/../../outside", Regular, "x")],
        &[("..", EntryType::Directory, "")],
        // A way out that the archive brings along.
        &[("way", Symlink, ".."), ("way/outside", Regular, "x")],
        &[
            ("way", Symlink, "/"),
            ("way/tmp/hearth-unpacked", Regular, "x"),
        ],
        &[("way", Symlink, ".."), ("way", EntryType::Directory, "")],
        &[("hard", Link, "../outside")],
        &[("way", Symlink, ".."), ("hard", Link, "way/outside")],
        &[("hard", Link, "missing")],
        // What has no place in a tree.
        &[("device", EntryType::Char, "")],
        &[("pipe", EntryType::Fifo, "")],
        &[("sparse", EntryType::GNUSparse, "")],
    ] {
        let place = Place::new();
        assert!(place.unpack(&archive(entries)).is_err(), "{entries:?}");
    }
    assert!(!Path::new("/tmp/hearth-unpacked").exists());
}

#[test]
fn a_way_out_that_was_there_is_not_taken() {
    let place = Place::new();
    symlink("..", place.top().join("way")).unwrap();
    let through = archive(&[("way/outside", EntryType::Regular, "x")]);
    assert!(place.unpack(&through).is_err());
    // A link in the place of a file is replaced and not followed.
    symlink("../outside", place.top().join("file")).unwrap();
    place
        .unpack(&archive(&[("/file", EntryType::Regular, "x")]))
        .unwrap();
    assert_eq!(place.read("file"), "x");
    assert!(
        place
            .top()
            .join("file")
            .symlink_metadata()
            .unwrap()
            .is_file()
    );
}

#[test]
fn links_are_made_over_what_was_there() {
    let place = Place::new();
    fs::write(place.top().join("name"), "old").unwrap();
    let entries = [
        ("a/file", EntryType::Regular, "content"),
        ("name", EntryType::Link, "a/file"),
        ("b", EntryType::Symlink, "a"),
    ];
    for _ in 0..2 {
        place.unpack(&archive(&entries)).unwrap();
        assert_eq!(
            (place.read("name"), place.read("b/file")),
            ("content".to_owned(), "content".to_owned())
        );
        assert_eq!(
            fs::read_dir(place.top()).unwrap().count(),
            3,
            "nothing is left beside"
        );
    }
}

#[test]
fn a_cut_archive_leaves_no_part_of_a_file() {
    let place = Place::new();
    let whole = archive(&[
        ("first", EntryType::Regular, "1"),
        ("second", EntryType::Regular, &"2".repeat(2000)),
    ]);
    assert!(place.unpack(&whole[..3 * 512 + 1000]).is_err());
    assert_eq!(place.read("first"), "1");
    assert_eq!(fs::read_dir(place.top()).unwrap().count(), 1);
    assert!(
        Place::new()
            .unpack(
                b"no archive at all, and longer than one block"
                    .repeat(30)
                    .as_slice()
            )
            .is_err()
    );
}

/// As `tar --sparse` of GNU writes them: records before the entry, and a name that other programs see.
fn pax_sparse(records: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let records = records.iter().map(|(key, value)| (*key, value.as_bytes()));
    builder.append_pax_extensions(records).unwrap();
    let mut header = Header::new_ustar();
    header.set_path("GNUSparseFile.1/disk.img").unwrap();
    header.set_mode(0o640);
    header.set_size(data.len() as u64);
    header.set_cksum();
    builder.append(&header, data).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn sparse_files_have_their_name_and_their_holes() {
    let mut data = b"1\n1048576\n4\n".to_vec();
    data.resize(512, 0);
    data.extend(b"data");
    let place = Place::new();
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "images/disk.img"),
        ("GNU.sparse.realsize", "2097152"),
    ];
    place.unpack(&pax_sparse(&records, &data)).unwrap();
    let path = place.top().join("images/disk.img");
    let content = fs::read(&path).unwrap();
    assert_eq!(content.len(), 2 << 20);
    assert_eq!(&content[1 << 20..][..4], b"data");
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.blocks() * 512 < 256 << 10);
    assert!(!place.top().join("GNUSparseFile.1").exists());
    // A name in the records is no more trusted than another.
    let out = [
        records[0],
        records[1],
        ("GNU.sparse.name", "../outside"),
        records[3],
    ];
    assert!(place.unpack(&pax_sparse(&out, &data)).is_err());
    // What is not understood is not stored under another name.
    for missing in 0..records.len() {
        let mut some = records.to_vec();
        some.remove(missing);
        let place = Place::new();
        assert!(
            place.unpack(&pax_sparse(&some, &data)).is_err(),
            "{missing}"
        );
        assert_eq!(fs::read_dir(place.top()).unwrap().count(), 0);
    }
    let huge = [
        records[0],
        records[1],
        records[2],
        ("GNU.sparse.realsize", "9000000000000000000"),
    ];
    assert!(place.unpack(&pax_sparse(&huge, &data)).is_err());
}

/// As the archives of Rust's `tar` have them.
#[test]
fn sparse_files_of_the_old_form_are_files() {
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("core");
    let file = File::create(&path).unwrap();
    file.set_len(4 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", 3 << 20).unwrap();
    drop(file);
    let mut builder = Builder::new(Vec::new());
    builder.append_path_with_name(&path, "core").unwrap();
    let archive = builder.into_inner().unwrap();
    let place = Place::new();
    place.unpack(&archive).unwrap();
    let content = fs::read(place.top().join("core")).unwrap();
    assert!(content == fs::read(&path).unwrap());
    let metadata = fs::metadata(place.top().join("core")).unwrap();
    assert!(metadata.blocks() * 512 < 256 << 10);
}
