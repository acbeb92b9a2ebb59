use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// The user of the tests, whom they may give files to.
fn me() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

fn root(directory: &Path) -> OwnedFd {
    crate::root::open(directory.to_str().unwrap()).unwrap()
}

fn read(root: &OwnedFd, path: &str) -> Option<String> {
    let mut text = String::new();
    open_for_reading(root, path)
        .ok()?
        .read_to_string(&mut text)
        .unwrap();
    Some(text)
}

#[test]
fn links_and_dots_stay_in_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let inside = outside.path().join("root");
    fs::create_dir_all(inside.join("etc")).unwrap();
    fs::write(outside.path().join("secret"), "outside").unwrap();
    fs::write(inside.join("secret"), "inside").unwrap();
    symlink("/secret", inside.join("absolute")).unwrap();
    symlink("../../../secret", inside.join("etc/relative")).unwrap();
    let root = root(&inside);

    for path in [
        "/secret",
        "/absolute",
        "/etc/relative",
        "/../../secret",
        "/etc/../../secret",
    ] {
        assert_eq!(read(&root, path).as_deref(), Some("inside"), "{path}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    let root = root(directory.path());
    assert!(matches!(
        open_for_reading(&root, "/pipe"),
        Err(Refusal::State(_))
    ));
    assert!(matches!(
        open_for_reading(&root, "/"),
        Err(Refusal::State(_))
    ));
    assert!(matches!(
        open_for_reading(&root, "/none"),
        Err(Refusal::Os { .. })
    ));
}

#[test]
fn a_written_file_appears_whole_with_its_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let root = root(directory.path());

    let mut new = NewFile::create(&root, "/file", 0o751, me()).unwrap();
    new.file.write_all(b"new").unwrap();
    assert_eq!(read(&root, "/file"), None);
    new.place().unwrap();
    drop(new);

    assert_eq!(read(&root, "/file").as_deref(), Some("new"));
    let mode = fs::metadata(directory.path().join("file"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o751);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_is_no_place_for_a_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("tmp")).unwrap();
    let refused = NewFile::create(&root(directory.path()), "/tmp", 0o644, me()).err();
    let told = refused.map(|refusal| refusal.to_string());
    assert!(told.is_some_and(|told| told.starts_with("/tmp is a directory")));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn an_unfinished_file_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    drop(NewFile::create(&root(directory.path()), "/file", 0o644, me()).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_link_in_the_place_is_replaced_and_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("target"), "kept").unwrap();
    symlink("target", directory.path().join("link")).unwrap();
    let root = root(directory.path());
    let mut new = NewFile::create(&root, "/link", 0o644, me()).unwrap();
    new.file.write_all(b"new").unwrap();
    new.place().unwrap();
    assert_eq!(read(&root, "/target").as_deref(), Some("kept"));
    assert_eq!(read(&root, "/link").as_deref(), Some("new"));
}

#[test]
fn a_directory_is_no_file_name() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "kept").unwrap();
    let root = root(directory.path());
    for path in ["/", "/.", "/..", "/none/..", "/file/file"] {
        assert!(NewFile::create(&root, path, 0o644, me()).is_err(), "{path}");
    }
}

#[test]
fn missing_directories_are_made_inside_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let inside = outside.path().join("root");
    fs::create_dir_all(inside.join("there")).unwrap();
    symlink("/there", inside.join("link")).unwrap();
    symlink("/nowhere", inside.join("dangling")).unwrap();
    let root = root(&inside);

    let mut new = NewFile::create(&root, "/link/../link/a//b/file", 0o644, me()).unwrap();
    new.file.write_all(b"new").unwrap();
    new.place().unwrap();
    drop(new);
    assert_eq!(
        fs::read_to_string(inside.join("there/a/b/file")).unwrap(),
        "new"
    );

    for path in ["/dangling/file", "/new/../../file"] {
        assert!(NewFile::create(&root, path, 0o644, me()).is_err(), "{path}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_there_keeps_its_permissions_but_no_set_user_id() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4710)).unwrap();
    let root = root(directory.path());
    let mut new = NewFile::create(&root, "/file", 0o644, me()).unwrap();
    new.place().unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o710);
}
