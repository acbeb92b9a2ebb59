//! Writer of the cpio "newc" format, the one that the kernel unpacks as an initramfs
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Archives are reproducible: no times, no owners, inode numbers in order of writing.

use std::io::{self, Write};

use ::cpio::newc;

/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Writes members one after the other; [`CpioWriter::finish`] ends the archive.
#[derive(Debug)]
pub struct CpioWriter<W: Write> {
    output: W,
    next_inode: u32,
}

impl<W: Write> CpioWriter<W> {
    /// Starts an archive.
    pub fn new(output: W) -> Self {
        Self {
            output,
            next_inode: 1,
        }
    }

    /// Adds a directory. Parents must be added before what they hold.
    pub fn directory(&mut self, path: &str, permissions: u32) -> io::Result<()> {
        self.member(path, DIRECTORY | permissions, (0, 0), &[])
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.member(path, REGULAR | permissions, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.member(path, SYMLINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device. Describing one needs no privilege, unlike making one.
    pub fn character_device(
        &mut self,
        path: &str,
        permissions: u32,
        major: u32,
        minor: u32,
    ) -> io::Result<()> {
        self.member(path, CHARACTER_DEVICE | permissions, (major, minor), &[])
    }

    /// Ends the archive and returns its output.
    pub fn finish(self) -> io::Result<W> {
        newc::trailer(self.output)
    }

    fn member(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let name = path.trim_start_matches('/');
        if name.is_empty() || name.contains('\0') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path:?} cannot name a member of an archive"),
            ));
        }
        let size = u32::try_from(content.len()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path} does not fit the format's limit of 4 GiB a file"),
            )
        })?;
        let inode = self.next_inode;
        self.next_inode += 1;
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        let mut member = newc::Builder::new(name)
            .ino(inode)
            .mode(mode)
            .nlink(links)
            .rdev_major(device.0)
            .rdev_minor(device.1)
            .write(&mut self.output, size);
        member.write_all(content)?;
        member.finish().map(drop)
    }
}

#[cfg(test)]
mod tests;
