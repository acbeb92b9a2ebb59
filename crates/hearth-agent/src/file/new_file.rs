//! Writes a file under a temporary name and renames it into place.

use std::fs::File;
use std::os::fd::OwnedFd;

use hearth_wire::agent::Refusal;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::open_in_root;
use super::owner::Owner;
use crate::bounds::refused;
use crate::fault::{Fault, Step};

/// Number of temporary names that are tried.
const NAME_ATTEMPTS: u32 = 16;

/// A file that is written under a temporary name. Removed on drop, unless it was renamed into place.
pub(super) struct NewFile {
    directory: OwnedFd,
    temporary: String,
    name: String,
    pub(super) file: File,
    is_placed: bool,
}

impl NewFile {
    /// Creates a file for `path` in `root`, and the missing parent directories.
    pub(super) fn create(
        root: &OwnedFd,
        path: &str,
        mode: u32,
        owner: Owner,
    ) -> Result<Self, Refusal> {
        // The path is absolute, so there is a slash.
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Err(refused(format!("{path} does not name a file")));
        }
        let parent = if parent.is_empty() { "/" } else { parent };
        owner.make_directories(root, parent)?;
        let directory = open_in_root(root, parent, OFlags::PATH | OFlags::DIRECTORY)
            .step_with(|| format!("open {parent}"))?;
        // Renaming onto it would fail when all has been received.
        if is_directory(&directory, name) {
            return Err(refused(format!(
                "{path} is a directory; the path has to name the file in it"
            )));
        }
        Ok(Self::in_directory(directory, name, mode, owner)?)
    }

    /// Creates a file for `name` in an open directory. `name` is one component of a path.
    ///
    /// Owner and permissions are taken over from a regular file that has this name already. `mode` and `owner` are for
    /// a new file.
    pub(super) fn in_directory(
        directory: OwnedFd,
        name: &str,
        mode: u32,
        owner: Owner,
    ) -> Result<Self, Fault> {
        let (mode, owner) = earlier(&directory, name).unwrap_or((mode, owner));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (temporary, file) = with_temporary(|temporary| {
            rustix::fs::openat(&directory, temporary, flags, Mode::RUSR | Mode::WUSR)
        })
        .step("create the file")?;
        let new = Self {
            directory,
            temporary,
            name: name.to_owned(),
            file: File::from(file),
            is_placed: false,
        };
        owner.take(&new.file).step("set the file's owner")?;
        // Not given at creation, where the umask would have a say.
        rustix::fs::fchmod(&new.file, Mode::from_raw_mode(mode & 0o7777))
            .step("set the file's permissions")?;
        Ok(new)
    }

    /// Makes the content durable and renames the file into place. An existing entry is replaced; of a symbolic link,
    /// the link itself and not its target.
    pub(super) fn place(&mut self) -> Result<(), Fault> {
        rustix::fs::fsync(&self.file).step("sync the file")?;
        self.rename()?;
        let directory = rustix::fs::openat(
            &self.directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .step("sync the directory")?;
        rustix::fs::fsync(directory).step("sync the directory")
    }

    /// Renames the file into place without making it durable.
    pub(super) fn rename(&mut self) -> Result<(), Fault> {
        let directory = &self.directory;
        rustix::fs::renameat(directory, &self.temporary, directory, &self.name)
            .step("rename the file into place")?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            // It may be gone with its directory.
            let _ = rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty());
        }
    }
}

/// Permissions and owner of the regular file that has this name already. Set-user-ID and set-group-ID bits do not
/// pass to new content, as the kernel takes them from a file that is written.
fn earlier(directory: &OwnedFd, name: &str) -> Option<(u32, Owner)> {
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    is_file.then_some((
        found.st_mode & 0o1777,
        Owner {
            uid: found.st_uid,
            gid: found.st_gid,
        },
    ))
}

fn is_directory(directory: &OwnedFd, name: &str) -> bool {
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

/// Calls `make` with temporary names until one is not taken.
pub(super) fn with_temporary<T>(
    make: impl Fn(&str) -> Result<T, Errno>,
) -> Result<(String, T), Errno> {
    let mut attempt = 0;
    loop {
        let worker = rustix::process::getpid().as_raw_nonzero();
        let name = format!(".hearth-{worker}-{attempt}");
        match make(&name) {
            Err(Errno::EXIST) if attempt < NAME_ATTEMPTS => attempt += 1,
            made => return Ok((name, made?)),
        }
    }
}
