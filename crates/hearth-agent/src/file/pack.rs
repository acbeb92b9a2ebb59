//! Packs a directory as a tar archive, while the application may change it.
//!
//! Every name is opened relative to the directory that it was found in and never followed, so that nothing outside of
//! the top is read. Directories, regular files and symbolic links are packed. Sockets, pipes, devices and mounts below
//! the top are left out. Hard links become files of their own.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hearth_wire::frame::FrameError;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::chunks::Pieces;

/// Deepest tree: each level holds a directory open.
const MAX_DEPTH: usize = 128;

/// Sends the tree below `top`. A failure ends the stream without its last chunk: the host sees a truncated stream.
pub(super) fn send(stream: &mut File, top: &OwnedFd) -> Result<(), FrameError> {
    let device = rustix::fs::fstat(top).map_err(io::Error::from)?.st_dev;
    let mut packer = Packer {
        archive: Builder::new(Pieces::to(stream)),
        device,
        path: PathBuf::new(),
    };
    packer.directory(top, 0)?;
    packer.archive.into_inner()?.end()
}

struct Packer<'a> {
    archive: Builder<Pieces<'a>>,
    /// Device of the top directory. Directories on other devices are mount points.
    device: u64,
    /// The current path below the top.
    path: PathBuf,
}

impl Packer<'_> {
    fn directory(&mut self, directory: &OwnedFd, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            let text = format!(
                "{} is more than {MAX_DEPTH} levels deep",
                self.path.display()
            );
            return Err(io::Error::other(text));
        }
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.path.push(std::ffi::OsStr::from_bytes(name.to_bytes()));
            match self.entry(directory, name, depth) {
                // Removed, or replaced by something else, since it was listed.
                Err(error) if is_gone(&error) => {}
                packed => packed?,
            }
            self.path.pop();
        }
        Ok(())
    }

    fn entry(&mut self, directory: &OwnedFd, name: &CStr, depth: usize) -> io::Result<()> {
        let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let inner = open(directory, name, flags)?;
                let found = rustix::fs::fstat(&inner)?;
                let header = &mut header(&found, EntryType::Directory, 0);
                self.archive.append_data(header, &self.path, io::empty())?;
                if found.st_dev == self.device {
                    self.directory(&inner, depth + 1)?;
                }
            }
            FileType::RegularFile => {
                // Should it be a pipe by now, opening it must not wait.
                let file = open(directory, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
                let found = rustix::fs::fstat(&file)?;
                if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
                    self.file(File::from(file), &found)?;
                }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                let target = Path::new(std::ffi::OsStr::from_bytes(target.to_bytes()));
                let header = &mut header(&found, EntryType::Symlink, 0);
                self.archive.append_link(header, &self.path, target)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn file(&mut self, file: File, found: &Stat) -> io::Result<()> {
        let size_bytes = u64::try_from(found.st_size).unwrap_or_default();
        let content = Exactly {
            file,
            left_bytes: size_bytes,
        };
        let header = &mut header(found, EntryType::Regular, size_bytes);
        self.archive.append_data(header, &self.path, content)
    }
}

/// Reads exactly as many bytes of a file as its header says. Fails if the file has become shorter: the header was sent
/// already.
struct Exactly {
    file: File,
    left_bytes: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let count = self.file.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left_bytes -= count as u64;
        Ok(count)
    }
}

fn open(directory: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::LOOP, Errno::NOTDIR].map(|errno| errno.raw_os_error());
    error
        .raw_os_error()
        .is_some_and(|errno| gone.contains(&errno))
}

fn header(found: &Stat, kind: EntryType, size_bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(found.st_mode & 0o7777);
    header.set_uid(found.st_uid.into());
    header.set_gid(found.st_gid.into());
    header.set_mtime(u64::try_from(found.st_mtime).unwrap_or_default());
    header.set_size(size_bytes);
    header
}
