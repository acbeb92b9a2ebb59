//! Addresses of Unix sockets at paths of any length.
//!
//! `sun_path` (unix(7)) holds 107 bytes, and a data directory may lie deep in somebody's home. A socket with a longer
//! path is reached through the descriptor of its directory. VMMs bind their sockets by file name alone: their working
//! directory is their own directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Longest path in bytes that fits into an address.
const MAX_BYTES: usize = 107;

/// File name of the socket on which a VMM listens for nodes, in its own directory.
pub(crate) const CONTROL: &str = "control.sock";

/// File name of the socket on which a VMM listens for streams to its guest, in its own directory.
pub(crate) const VSOCK: &str = "vsock.sock";

/// The address of a socket. It must be kept alive until it was used.
pub(crate) struct Address {
    path: PathBuf,
    _directory: Option<File>,
}

impl Address {
    /// The address of the socket at `path`.
    ///
    /// # Errors
    ///
    /// The directory of the socket cannot be opened.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Self::within(path, MAX_BYTES)
    }

    fn within(path: &Path, max_bytes: usize) -> io::Result<Self> {
        if path.as_os_str().len() <= max_bytes {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        Ok(Self {
            path: Path::new("/proc/self/fd")
                .join(directory.as_raw_fd().to_string())
                .join(name),
            _directory: Some(directory),
        })
    }
}

impl AsRef<Path> for Address {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_of_any_path_is_made_and_reached() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join(VSOCK);
        let missing = UnixStream::connect(Address::of(&path).unwrap()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let _listener = UnixListener::bind(Address::of(&path).unwrap()).unwrap();
        assert!(path.exists());
        UnixStream::connect(Address::of(&path).unwrap()).unwrap();
    }

    #[test]
    fn a_short_path_is_its_own_address() {
        let path = Path::new("/data/machines/m/vmm/vsock.sock");
        assert_eq!(Address::of(path).unwrap().as_ref(), path);
        let missing = Address::within(Path::new("/missing/vsock.sock"), 5);
        assert_eq!(missing.err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
