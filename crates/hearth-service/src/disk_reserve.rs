//! Disk space that is reserved for a start on a full disk.
//!
//! Opening a database writes files beside it. A service that could not start on a full disk would leave running
//! microVMs without endpoints until somebody frees space. So a file reserves a little of the disk, and each start
//! removes it first.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// More than three databases write when they are opened, and the small files that every start writes.
const BYTES: u64 = 16 << 20;

fn path(data: &Path) -> PathBuf {
    data.join("reserve")
}

/// The reserve is free while this exists. It is taken again on drop: at the end of the start, also if the start failed.
#[must_use = "the room is taken again when this is dropped"]
pub(crate) struct Released {
    data: PathBuf,
}

/// Frees the reserve until the start has ended.
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
    // If the file is absent or cannot be removed, the start itself reports the full disk.
    let _ = fs::remove_file(path(data));
}

/// Reserves disk space for the next start, if enough is free.
fn take(data: &Path) {
    let take = || {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).mode(0o600);
        fallocate(file.open(path(data))?, FallocateFlags::empty(), 0, BYTES)?;
        Ok::<_, io::Error>(())
    };
    if let Err(error) = take() {
        // A partial reserve would only take space from others.
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
