//! File streams: reading and writing files of the application's root.
//!
//! Each stream is served by a forked worker that blocks as it likes: a file system that hangs (the
//! application may have mounted one of its own making) then hangs a worker and not the agent.
//! Paths are resolved inside the root by the kernel (`openat2`, `RESOLVE_IN_ROOT`), so that no symbolic
//! link and no `..` of the application leads out of it, even while it changes them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use hearth_wire::agent::{Chunk, MAX_CHUNK_BYTES, OpenReply, Refusal};
use hearth_wire::frame::{self, FrameError};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use std::time::Duration;

use crate::agent::Agent;
use crate::bounds::{self, refused};
use crate::channel::{Channel, set_blocking};
use crate::fault::{Fault, Step};
use crate::sys::process;

/// How long a worker waits for a peer that neither sends nor takes anything.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A frame that carries one piece of a file.
const MAX_PIECE_BYTES: usize = MAX_CHUNK_BYTES + 16;

/// How many names are tried for a file that is being written.
const NAME_ATTEMPTS: u32 = 16;

/// What a stream asks for.
#[derive(Debug)]
pub(crate) enum FileRequest {
    Read { path: String },
    Write { path: String, mode: u32 },
}

/// Serves one stream.
pub(crate) async fn serve(
    agent: &Agent,
    channel: Channel,
    request: FileRequest,
) -> Result<(), FrameError> {
    let _slot = match agent.slots.file.take() {
        Ok(slot) => slot,
        Err(refusal) => return channel.send(&OpenReply::Refused(refusal)).await,
    };
    let root = match check(&request).and_then(|()| agent.root()) {
        Ok(root) => root,
        Err(refusal) => return channel.send(&OpenReply::Refused(refusal)).await,
    };
    let stream = channel.into_fd();
    let worker = process::fork(|| {
        let kept = [stream.as_fd(), root.as_fd()];
        if process::close_all_but(&kept).is_err() {
            return 1;
        }
        // The worker's own copy of the owner; `_exit` follows and drops nothing.
        match stream
            .try_clone()
            .map_err(FrameError::from)
            .and_then(|stream| work(stream, &root, &request))
        {
            Ok(()) => 0,
            Err(_) => 1,
        }
    });
    match worker {
        Ok(pid) => {
            let exit = agent.reaper.watch(pid);
            drop((stream, root));
            // How it ended was told on the stream.
            let _ = exit.await;
            Ok(())
        }
        Err(error) => {
            let refusal = Fault::new("fork", error).into();
            Channel::new(stream)?
                .send(&OpenReply::Refused(refusal))
                .await
        }
    }
}

fn check(request: &FileRequest) -> Result<(), Refusal> {
    match request {
        FileRequest::Read { path } | FileRequest::Write { path, .. } => bounds::check_path(path),
    }
}

/// What the worker does, with a stream that waits.
fn work(stream: OwnedFd, root: &OwnedFd, request: &FileRequest) -> Result<(), FrameError> {
    set_blocking(&stream, true).map_err(io::Error::from)?;
    for direction in [Timeout::Recv, Timeout::Send] {
        rustix::net::sockopt::set_socket_timeout(&stream, direction, Some(IDLE_TIMEOUT))
            .map_err(io::Error::from)?;
    }
    let mut stream = File::from(stream);
    match request {
        FileRequest::Read { path } => match open_for_reading(root, path) {
            Ok(file) => {
                frame::write(&mut stream, &OpenReply::Ok)?;
                send_file(&mut stream, file)
            }
            Err(refusal) => frame::write(&mut stream, &OpenReply::Refused(refusal)),
        },
        FileRequest::Write { path, mode } => match NewFile::create(root, path, *mode) {
            Ok(file) => {
                frame::write(&mut stream, &OpenReply::Ok)?;
                receive_file(&mut stream, file)
            }
            Err(refusal) => frame::write(&mut stream, &OpenReply::Refused(refusal)),
        },
    }
}

/// Opens a regular file. What it is is looked at before it is opened: opening a device has effects, opening
/// a named pipe waits.
fn open_for_reading(root: &OwnedFd, path: &str) -> Result<File, Refusal> {
    let found = open_in_root(root, path, OFlags::PATH).step_with(|| format!("open {path}"))?;
    let kind = rustix::fs::fstat(&found).step_with(|| format!("open {path}"))?;
    if rustix::fs::FileType::from_raw_mode(kind.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(refused(format!("{path} is not a regular file")));
    }
    let file = rustix::fs::open(
        crate::root::descriptor_path(&found),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step_with(|| format!("open {path}"))?;
    Ok(File::from(file))
}

fn open_in_root(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn send_file(stream: &mut File, mut file: File) -> Result<(), FrameError> {
    let mut piece = vec![0; MAX_CHUNK_BYTES];
    loop {
        // A file that cannot be read on ends the stream without the empty piece: the host sees a cut.
        let count = file.read(&mut piece)?;
        frame::write(stream, &Chunk(piece[..count].to_vec()))?;
        if count == 0 {
            return Ok(());
        }
    }
}

fn receive_file(stream: &mut File, mut file: NewFile) -> Result<(), FrameError> {
    // The first failure is kept for the end: the host reads only then.
    let mut failure = None;
    loop {
        let Chunk(piece) = frame::read(stream)?;
        if piece.len() > MAX_PIECE_BYTES {
            return Err(FrameError::TooLarge(piece.len()));
        }
        if piece.is_empty() {
            break;
        }
        if failure.is_none() {
            failure = file.file.write_all(&piece).step("write the file").err();
        }
    }
    let placed = match failure {
        None => file.place(),
        Some(fault) => Err(fault),
    };
    let reply = match placed {
        Ok(()) => OpenReply::Ok,
        Err(fault) => OpenReply::Refused(fault.into()),
    };
    // Dropped first: what was not placed is gone when the host hears of it.
    drop(file);
    frame::write(stream, &reply)
}

/// A file that is written beside its place and removed again unless it gets there.
struct NewFile {
    directory: OwnedFd,
    temporary: String,
    name: String,
    file: File,
    is_placed: bool,
}

impl NewFile {
    fn create(root: &OwnedFd, path: &str, mode: u32) -> Result<Self, Refusal> {
        // The path is absolute, so there is a slash.
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Err(refused(format!("{path} does not name a file")));
        }
        let parent = if parent.is_empty() { "/" } else { parent };
        let directory = open_in_root(root, parent, OFlags::PATH | OFlags::DIRECTORY)
            .step_with(|| format!("open {parent}"))?;
        let (temporary, file) = create_temporary(&directory).step("create the file")?;
        let new = Self {
            directory,
            temporary,
            name: name.to_owned(),
            file: File::from(file),
            is_placed: false,
        };
        // Not given at creation, where the umask would have a say.
        rustix::fs::fchmod(&new.file, Mode::from_raw_mode(mode & 0o7777))
            .step("set the file's permissions")?;
        Ok(new)
    }

    /// Makes the content durable and gives the file its name; what had that name is replaced, a symbolic
    /// link itself and not what it points to.
    fn place(&mut self) -> Result<(), Fault> {
        rustix::fs::fsync(&self.file).step("sync the file")?;
        rustix::fs::renameat(
            &self.directory,
            &self.temporary,
            &self.directory,
            &self.name,
        )
        .step("rename the file into place")?;
        self.is_placed = true;
        let directory = rustix::fs::openat(
            &self.directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .step("sync the directory")?;
        rustix::fs::fsync(directory).step("sync the directory")
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

fn create_temporary(directory: &OwnedFd) -> Result<(String, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut attempt = 0;
    loop {
        let worker = rustix::process::getpid().as_raw_nonzero();
        let name = format!(".hearth-{worker}-{attempt}");
        match rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) if attempt < NAME_ATTEMPTS => attempt += 1,
            opened => return Ok((name, opened?)),
        }
    }
}

#[cfg(test)]
mod tests;
