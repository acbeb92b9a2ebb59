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

/// The room, given back for a start. It is taken again when this is dropped: at the end of the start, however it ends.
#[must_use = "the room is taken again when this is dropped"]
pub(crate) struct Released {
    data: PathBuf,
}

/// Gives the room back until the start is through.
pub(crate) fn release(data: &Path) -> Released {
    remove(data);
    Released {
        data: data.to_owned(),
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        take(&self.data);
    }
}

fn remove(data: &Path) {
    // If it is absent or cannot be removed, the start tells what it lacks.
    let _ = fs::remove_file(path(data));
}

/// Takes the room for the next start, if there is any.
fn take(data: &Path) {
    let take = || {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).mode(0o600);
        fallocate(file.open(path(data))?, FallocateFlags::empty(), 0, BYTES)?;
        Ok::<_, io::Error>(())
    };
    if let Err(error) = take() {
        // A piece of it would be taken from those who need it now.
        remove(data);
        tracing::warn!(%error, "no room is kept for the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(data: &Path) -> bool {
        path(data)
            .metadata()
            .is_ok_and(|metadata| metadata.len() == BYTES)
    }

    #[test]
    fn the_room_is_free_during_a_start_and_taken_after_it() {
        let data = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let released = release(data.path());
            assert!(!path(data.path()).exists());
            drop(released);
            assert!(is_kept(data.path()));
        }
    }

    #[test]
    fn a_start_that_fails_leaves_the_room_for_the_next_one() {
        fn start(data: &Path) -> io::Result<()> {
            let _released = release(data);
            Err(io::ErrorKind::StorageFull.into())
        }
        let data = tempfile::tempdir().unwrap();
        drop(release(data.path()));
        start(data.path()).unwrap_err();
        assert!(is_kept(data.path()));
    }
}
