//! The owner of files that a host puts into the application's root directory.

use std::os::fd::{AsFd, OwnedFd};

use hearth_wire::agent::Refusal;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::open_in_root;
use crate::bounds::refused;
use crate::fault::{Fault, Step};
use crate::user;

/// Permissions of parent directories that are created.
pub(super) const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// The owner of new files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// The application's user, looked up in the user files of its root directory. A number without an entry there is a
    /// valid user, too.
    pub(super) fn of(root: &OwnedFd, user: &str) -> Result<Self, Refusal> {
        let found = user::resolve_at(Some(root), user);
        let identity = found.map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            uid: identity.uid,
            gid: identity.gid,
        })
    }

    /// Changes the owner of an open file or directory.
    ///
    /// The kernel clears set-user-ID bits when the owner changes, so permissions must be set afterwards.
    pub(super) fn take(self, file: impl AsFd) -> Result<(), Errno> {
        rustix::fs::fchown(file, Some(self.uid()), Some(self.gid()))
    }

    /// Changes the owner of the entry with this name in `directory`. Of a symbolic link, the link itself and not its
    /// target.
    pub(super) fn take_named(self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        let (uid, gid) = (Some(self.uid()), Some(self.gid()));
        rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Makes the directory that `path` names in `root`, and those above it. No-op if it exists.
    pub(super) fn make_directories(self, root: &OwnedFd, path: &str) -> Result<(), Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut missing = Vec::new();
        let mut rest = path.trim_end_matches('/');
        let mut directory = loop {
            let existing = if rest.is_empty() { "/" } else { rest };
            match open_in_root(root, existing, flags) {
                Ok(directory) => break directory,
                Err(Errno::NOENT) if !rest.is_empty() => {}
                Err(error) => return Err(Fault::new(format!("open {existing}"), error).into()),
            }
            let (above, name) = rest.rsplit_once('/').unwrap_or(("", rest));
            missing.push(name);
            rest = above.trim_end_matches('/');
        };
        for name in missing.into_iter().rev() {
            directory = self.make_directory(&directory, name)?;
        }
        Ok(())
    }

    fn make_directory(self, parent: &OwnedFd, name: &str) -> Result<OwnedFd, Refusal> {
        let step = || format!("make the directory {name}");
        match rustix::fs::mkdirat(parent, name, DIRECTORY_MODE) {
            Ok(()) => {}
            // A dangling symbolic link, `..`, or somebody who was faster.
            Err(Errno::EXIST) => return Err(refused(format!("{name} is not a directory"))),
            Err(error) => return Err(Fault::new(step(), error).into()),
        }
        // What lies there may have been replaced meanwhile: a symbolic link is not followed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(parent, name, flags, Mode::empty()).step_with(step)?;
        self.take(&made).step_with(step)?;
        Ok(made)
    }

    fn uid(self) -> Uid {
        Uid::from_raw(self.uid)
    }

    fn gid(self) -> Gid {
        Gid::from_raw(self.gid)
    }
}
