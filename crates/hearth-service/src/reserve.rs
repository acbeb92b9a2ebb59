//! Room that is kept for a start on a full disk.
//!
//! Databases are opened with files of their own beside them, and a service that could not start again would leave running microVMs
//! without endpoints until somebody makes room. So a file takes a little of the disk, which each start gives back to itself first.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// More than the files of three databases at their opening, and the small ones that are written at every start.
const BYTES: u64 = 16 << 20;

fn path(data: &Path) -> PathBuf {
    data.join("reserve")
}

/// Gives the room back.
pub(crate) fn release(data: &Path) {
    // Of none, or of one that cannot be removed, the start tells what it lacks.
    let _ = fs::remove_file(path(data));
}

/// Takes the room for the next start, if there is any.
pub(crate) fn take(data: &Path) {
    let take = || {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).mode(0o600);
        fallocate(file.open(path(data))?, FallocateFlags::empty(), 0, BYTES)?;
        Ok::<_, io::Error>(())
    };
    if let Err(error) = take() {
        // A piece of it would be taken from those who need it now.
        release(data);
        tracing::warn!(%error, "no room is kept for the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let data = tempfile::tempdir().unwrap();
        release(data.path());
        take(data.path());
        take(data.path());
        assert_eq!(path(data.path()).metadata().unwrap().len(), BYTES);
        release(data.path());
        assert!(!path(data.path()).exists());
    }
}
