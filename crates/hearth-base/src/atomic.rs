//! Directories that appear complete or not at all.
//!
//! A directory is written beside its final name, synced, and renamed into place. A reader, or a second builder at the
//! same time, never sees a partial result, even if a process is killed at any point.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Calls `fill` on an empty directory beside `target`, syncs it and renames it to `target`.
///
/// If `target` exists by then, the existing directory is kept and the new one is removed.
pub(crate) fn directory<E: From<io::Error>>(
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let parent = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let unfinished = parent.join(unfinished_name(target));
    remove_if_present(&unfinished)?;
    fs::create_dir(&unfinished)?;
    let result = fill(&unfinished).and_then(|()| Ok(publish(&unfinished, target)?));
    if result.is_err() {
        // Best effort: what is left is overwritten by the next attempt of this process id.
        let _ = fs::remove_dir_all(&unfinished);
    }
    result
}

fn unfinished_name(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{}", std::process::id())
}

fn publish(unfinished: &Path, target: &Path) -> io::Result<()> {
    sync_tree(unfinished)?;
    match fs::rename(unfinished, target) {
        Ok(()) => {}
        // Another builder was faster.
        Err(_) if target.is_dir() => fs::remove_dir_all(unfinished)?,
        Err(error) => return Err(error),
    }
    File::open(target.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}

fn remove_if_present(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("a/b");
        directory::<io::Error>(&target, |path| fs::write(path.join("x"), "1")).unwrap();
        assert_eq!(fs::read(target.join("x")).unwrap(), b"1");
        assert_eq!(fs::read_dir(scratch.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("b");
        let result = directory(&target, |path| {
            fs::write(path.join("x"), "1")?;
            Err(io::Error::other("no"))
        });
        assert!(result.is_err());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_stands_there_wins() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("b");
        for content in ["first", "second"] {
            directory::<io::Error>(&target, |path| fs::write(path.join("x"), content)).unwrap();
        }
        assert_eq!(fs::read(target.join("x")).unwrap(), b"first");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
