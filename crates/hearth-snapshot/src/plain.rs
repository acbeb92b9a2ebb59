//! Reads files that an attacker may have made: a VMM writes its snapshots itself, and may have been taken over by its
//! guest.
//!
//! Symbolic links are not followed, as they would lead elsewhere. FIFOs and devices are refused without blocking. Every
//! read has a size limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a file for reading.
///
/// # Errors
///
/// The file cannot be opened, or is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // Opening a FIFO does not wait for its other end then. To a plain file it makes no difference.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no plain file",
        ));
    }
    Ok(file)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// As for [`open`], and if the file is longer than `limit`.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn only_plain_files_are_read_and_only_so_far() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("plain"), "0123").unwrap();
        std::os::unix::fs::symlink(at("plain"), at("link")).unwrap();
        let fifo = CString::new(at("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a string that ends with zero.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["link", "fifo", "socket", "missing", "."] {
            assert!(read(&at(name), 10).is_err(), "{name}");
        }
        assert_eq!(read(&at("plain"), 4).unwrap(), b"0123");
        let long = read(&at("plain"), 3).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
    }
}
