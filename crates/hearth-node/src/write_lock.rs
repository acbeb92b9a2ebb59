//! Makes sealed files unwritable, also through descriptors that are open.
//!
//! A VMM that continues after a seal (a template, a step for a fork) still holds the descriptors with which it wrote
//! the files, and other microVMs stand on these files from now on. Owner and mode of a file are only checked when it is
//! opened. So when it takes over a snapshot, the node does the cheaper of two things that affect open descriptors as
//! well:
//!
//! - **The immutable attribute** (`chattr +i`), where the file system enforces it on open descriptors, as ext4 does. That costs an
//!   `ioctl` for each file. Whether it is enforced is tried out on the file itself. The attribute is taken off when the writer is gone.
//! - **A copy**, elsewhere: of extents where the file system shares them (XFS, btrfs), else of the data. The old file stays the writer's
//!   own. Without room for a copy the file stays as it is, with a warning: by then the guest's disks have moved on, and a
//!   fork that fails there would cost the parent its next sleep. What is written then is of the same tenant.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{IFlags, OFlags, ioctl_ficlone, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use crate::directory::names;
use crate::error::{NodeError, failed};

/// Suffix of the name of an unfinished copy.
const COPY_SUFFIX: &str = ".copy";

/// How a file was made unwritable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    ByAttribute,
    ByCopy,
    /// It was not: there was no disk space for a copy.
    Not,
}

/// Makes every file of a directory unwritable, also through open descriptors, as far as there is disk space for copies.
/// The files must belong to the node. Idempotent.
pub(crate) fn lock(directory: &Path) -> Result<(), NodeError> {
    let (mut locked, mut copied) = (0, 0);
    for name in names(directory)? {
        let path = directory.join(name);
        match lock_file(&path).map_err(failed("keep from being written", &path))? {
            Kept::ByAttribute => locked += 1,
            Kept::ByCopy => copied += 1,
            Kept::Not => tracing::warn!(
                path = %path.display(),
                "no disk space to copy a sealed file that its VMM can still write: the microVM that sealed it can change it"
            ),
        }
    }
    if copied > 0 {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("make durable", directory))?;
    }
    tracing::debug!(path = %directory.display(), locked, copied, "sealed files are locked");
    Ok(())
}

/// Clears the attribute of all files below a directory, once no writable descriptors are left. Best effort: a file that
/// cannot be unlocked cannot be removed later either, and that is reported then.
pub(crate) fn unlock(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => unlock(&entry.path()),
            Ok(kind) if kind.is_file() => {
                if let Ok(file) = hearth_snapshot::plain::open(&entry.path()) {
                    let _ = set_immutable(&file, false);
                }
            }
            _ => {}
        }
    }
}

/// Removes a directory with everything in it, including locked files. Succeeds if it does not exist.
pub(crate) fn remove_all(path: &Path) -> Result<(), NodeError> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(path);
            fs::remove_dir_all(path)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

/// Creates a hard link to a file. A locked file is unlocked for that and locked again.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        linked => return linked,
    }
    let file = hearth_snapshot::plain::open(from)?;
    set_immutable(&file, false)?;
    let linked = fs::hard_link(from, to);
    set_immutable(&file, true)?;
    linked
}

fn lock_file(path: &Path) -> io::Result<Kept> {
    if is_immutable(&hearth_snapshot::plain::open(path)?) {
        // It was enforced when it was set.
        return Ok(Kept::ByAttribute);
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)?;
    if set_immutable(&file, true).is_ok() {
        if !is_writable(&file) {
            return Ok(Kept::ByAttribute);
        }
        // It would only be in the way.
        set_immutable(&file, false)?;
    }
    match copy(path, &file) {
        Ok(()) => Ok(Kept::ByCopy),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Ok(Kept::Not)
        }
        Err(error) => Err(error),
    }
}

fn is_immutable(file: &File) -> bool {
    ioctl_getflags(file).is_ok_and(|flags| flags.contains(IFlags::IMMUTABLE))
}

fn set_immutable(file: &File, is_immutable: bool) -> io::Result<()> {
    let before = ioctl_getflags(file)?;
    let mut after = before;
    after.set(IFlags::IMMUTABLE, is_immutable);
    if after != before {
        ioctl_setflags(file, after)?;
    }
    Ok(())
}

/// Whether an open descriptor can still change a file. Tried by writing data that is there already.
fn is_writable(file: &File) -> bool {
    let mut first = [0];
    match file.read_at(&mut first, 0) {
        Ok(1) => file.write_at(&first, 0).is_ok(),
        Ok(_) => file.set_len(0).is_ok(),
        Err(_) => true,
    }
}

/// Replaces a file by a copy.
fn copy(path: &Path, file: &File) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(COPY_SUFFIX);
    let place = Path::new(&name);
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copied = || {
        let to = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(place)?;
        match ioctl_ficlone(&to, file) {
            Ok(()) => {}
            Err(_) => copy_data(file, &to)?,
        }
        to.set_permissions(Permissions::from_mode(0o444))?;
        to.sync_all()?;
        fs::rename(place, path)
    };
    copied().inspect_err(|_| {
        // The error is the thing to tell.
        let _ = fs::remove_file(place);
    })
}

/// Copies the data of a sparse file and leaves its holes.
fn copy_data(from: &File, to: &File) -> io::Result<()> {
    use rustix::fs::{SeekFrom, copy_file_range, seek};
    let bytes = from.metadata()?.len();
    to.set_len(bytes)?;
    let mut at = 0;
    while at < bytes {
        let begin = match seek(from, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // Nothing but a hole follows.
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = seek(from, SeekFrom::Hole(begin))?.min(bytes);
        let (mut source, mut target) = (begin, begin);
        while source < end {
            let length = usize::try_from(end - source).unwrap_or(usize::MAX);
            let count = copy_file_range(from, Some(&mut source), to, Some(&mut target), length)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    use super::*;

    /// Takes locks off before the directory goes.
    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// A file, and a descriptor that writes it.
        fn written(&self, name: &str, bytes: &[u8]) -> (PathBuf, File) {
            let path = self.0.path().join(name);
            fs::write(&path, bytes).unwrap();
            let writer = OpenOptions::new().write(true).open(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
            (path, writer)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            unlock(self.0.path());
        }
    }

    /// The descriptors that a VMM has kept of what it sealed (finding M16). Without the lock, all three calls change the file.
    #[test]
    fn a_descriptor_from_before_the_lock_changes_nothing() {
        let scratch = Scratch::new();
        let (memory, writer) = scratch.written("memory", b"sealed");
        let (empty, of_empty) = scratch.written("empty", b"");
        lock(scratch.0.path()).unwrap();
        lock(scratch.0.path()).unwrap();
        let _ = writer.write_at(b"changed", 0);
        let _ = writer.set_len(1);
        let _ = of_empty.write_at(b"more", 0);
        assert_eq!(fs::read(memory).unwrap(), b"sealed");
        assert_eq!(fs::read(empty).unwrap(), b"");
    }

    #[test]
    fn a_copy_is_the_same_with_its_holes_and_no_longer_the_writers() {
        let scratch = Scratch::new();
        let (path, writer) = scratch.written("memory", b"begins");
        writer.set_len(64 << 20).unwrap();
        writer.write_at(b"middle", 32 << 20).unwrap();
        copy(&path, &File::open(&path).unwrap()).unwrap();
        writer.write_at(b"changed", 0).unwrap();
        let copied = File::open(&path).unwrap();
        let mut bytes = [0; 6];
        for (at, expected) in [(0, b"begins"), (32 << 20, b"middle"), (40 << 20, &[0; 6])] {
            copied.read_exact_at(&mut bytes, at).unwrap();
            assert_eq!(&bytes, expected);
        }
        let found = copied.metadata().unwrap();
        assert_eq!((found.len(), found.mode() & 0o777), (64 << 20, 0o444));
        assert!(found.blocks() * 512 < 8 << 20, "the holes were filled");
        assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 1);
    }

    #[test]
    fn locked_files_are_linked_and_removed() {
        let scratch = Scratch::new();
        let (sealed, kept) = (scratch.0.path().join("a"), scratch.0.path().join("b/c"));
        fs::create_dir_all(&sealed).unwrap();
        fs::create_dir_all(&kept).unwrap();
        fs::write(sealed.join("memory"), "x").unwrap();
        lock(&sealed).unwrap();
        link(&sealed.join("memory"), &kept.join("memory")).unwrap();
        remove_all(&scratch.0.path().join("b")).unwrap();
        remove_all(&sealed).unwrap();
        remove_all(&sealed).unwrap();
        assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0);
    }
}
