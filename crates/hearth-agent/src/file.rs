//! File streams: read and write files below the application's root directory, and directory trees as tar archives.
//!
//! Each stream is served by a forked worker that may block: a file system that hangs (the application may have mounted
//! one of its own) then blocks a worker and not the agent. Paths are resolved inside the root by the kernel (`openat2`,
//! `RESOLVE_IN_ROOT`), so that no symbolic link and no `..` of the application leads out of it, even while it changes
//! them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use hearth_wire::agent::{Chunk, MAX_CHUNK_BYTES, OpenReply, Refusal};
use hearth_wire::frame::{self, FrameError};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use std::time::Duration;

use crate::agent::Agent;
use crate::bounds::{self, refused};
use crate::channel::{Channel, set_blocking};
use crate::fault::{Fault, Step};
use crate::sys::process;

mod chunks;
mod new_file;
mod owner;
mod pack;
mod sparse;
mod unpack;

use chunks::Chunks;
use new_file::NewFile;
use owner::Owner;

/// How long a worker waits for a peer that neither sends nor receives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Most address space of a worker that unpacks, in bytes. The agent itself takes a few MiB.
const MAX_UNPACKER_BYTES: u64 = 256 << 20;

/// Largest frame in bytes: one piece of a file and a small header.
const MAX_PIECE_BYTES: usize = MAX_CHUNK_BYTES + 16;

/// The request of a file stream.
#[derive(Debug)]
pub(crate) enum FileRequest {
    Read { path: String },
    Write { path: String, mode: u32 },
    ReadTree { path: String },
    WriteTree { path: String },
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
    let user = agent.application.user();
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
            .and_then(|stream| work(stream, &root, &user, &request))
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
        FileRequest::Read { path }
        | FileRequest::Write { path, .. }
        | FileRequest::ReadTree { path }
        | FileRequest::WriteTree { path } => bounds::check_path(path),
    }
}

/// The main function of the worker. The stream is blocking.
fn work(
    stream: OwnedFd,
    root: &OwnedFd,
    user: &str,
    request: &FileRequest,
) -> Result<(), FrameError> {
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
        FileRequest::Write { path, mode } => match create(root, user, path, *mode) {
            Ok(file) => {
                frame::write(&mut stream, &OpenReply::Ok)?;
                receive_file(&mut stream, file)
            }
            Err(refusal) => frame::write(&mut stream, &OpenReply::Refused(refusal)),
        },
        FileRequest::ReadTree { path } => match open_directory(root, path) {
            Ok(top) => {
                frame::write(&mut stream, &OpenReply::Ok)?;
                pack::send(&mut stream, &top)
            }
            Err(refusal) => frame::write(&mut stream, &OpenReply::Refused(refusal)),
        },
        FileRequest::WriteTree { path } => match make_top(root, user, path) {
            Ok((top, owner)) => {
                limit_memory();
                frame::write(&mut stream, &OpenReply::Ok)?;
                receive_tree(&mut stream, &top, owner)
            }
            Err(refusal) => frame::write(&mut stream, &OpenReply::Refused(refusal)),
        },
    }
}

/// Limits the worker's memory. An archive may claim to contain a name of a gigabyte: that then ends only this worker.
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Some(MAX_UNPACKER_BYTES);
    let (current, maximum) = (limit, limit);
    // It cannot fail: everybody may have less.
    let _ = setrlimit(Resource::As, Rlimit { current, maximum });
}

/// Unpacks the archive that the host sends, and answers at its end.
fn receive_tree(stream: &mut File, top: &OwnedFd, owner: Owner) -> Result<(), FrameError> {
    let mut chunks = Chunks::of(stream);
    let unpacked = unpack::receive(&mut chunks, top, owner);
    // The host reads the answer when it has sent everything.
    chunks.drain()?;
    let reply = match unpacked {
        Ok(()) => OpenReply::Ok,
        Err(refusal) => OpenReply::Refused(refusal),
    };
    frame::write(stream, &reply)
}

/// Creates a file to write, and its missing parent directories.
fn create(root: &OwnedFd, user: &str, path: &str, mode: u32) -> Result<NewFile, Refusal> {
    NewFile::create(root, path, mode, Owner::of(root, user)?)
}

/// The directory to unpack into, which is created if it is missing, and the owner of the unpacked files.
fn make_top(root: &OwnedFd, user: &str, path: &str) -> Result<(OwnedFd, Owner), Refusal> {
    let owner = Owner::of(root, user)?;
    owner.make_directories(root, path)?;
    Ok((open_directory(root, path)?, owner))
}

fn open_directory(root: &OwnedFd, path: &str) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    Ok(open_in_root(root, path, flags).step_with(|| format!("open {path}"))?)
}

/// Opens a regular file. The type is checked before it is opened: opening a device has effects, opening a named pipe
/// blocks.
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

/// The next piece that the host sends; `None` at the end.
fn next_piece(stream: &mut File) -> Result<Option<Vec<u8>>, FrameError> {
    let Chunk(piece) = frame::read(stream)?;
    if piece.len() > MAX_PIECE_BYTES {
        return Err(FrameError::TooLarge(piece.len()));
    }
    Ok((!piece.is_empty()).then_some(piece))
}

fn receive_file(stream: &mut File, mut file: NewFile) -> Result<(), FrameError> {
    // The first failure is kept for the end: the host reads only then.
    let mut failure = None;
    while let Some(piece) = next_piece(stream)? {
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

#[cfg(test)]
mod tests;
