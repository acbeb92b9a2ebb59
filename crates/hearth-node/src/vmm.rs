//! Starts a `hearth-vmm` process, and talks to it over its control socket.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hearth_net::Slot;
use hearth_wire::frame::{self, FrameError, PREFIX_BYTES};
use hearth_wire::vmm::{
    self, Command, EndReason, Envelope, Event, Message, PROTOCOL_VERSION, Refusal, Reply, Request,
    RequestId, SLOT_MARK, Sealing,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process;
use tokio::time;

use crate::socket::Address;
use crate::spawn::spawn_apart;
use crate::untrusted_text::harmless;

/// Longest wait for the answer to any request but a snapshot. A VMM that needs longer is broken: the slowest supported
/// host loads a kernel image into memory in a few seconds.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a request to a VMM failed.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// The process could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Nobody listens on the control socket: the process has ended.
    #[error("the VMM is gone (nobody listens on {path})")]
    Gone {
        /// Its control socket.
        path: PathBuf,
        /// The error of the connection attempt.
        #[source]
        source: io::Error,
    },
    /// The control stream failed.
    #[error("the VMM's control stream failed")]
    Stream(#[from] FrameError),
    /// The VMM did not answer in time.
    #[error("the VMM did not answer within {0:?}")]
    Timeout(Duration),
    /// The VMM is of another release of Hearth, and alive.
    #[error(
        "the VMM speaks version {0} of the control protocol, this Hearth speaks {PROTOCOL_VERSION}: its microVM runs on, and \
         can be terminated here, or suspended by the release of Hearth that started it"
    )]
    OtherVersion(u16),
    /// The VMM is sealing a snapshot and refuses other requests meanwhile. Nothing has changed.
    #[error(
        "the VMM is busy: a snapshot has been being sealed for {} ms; ask again when it is done",
        .0.since_us / 1000
    )]
    Busy(Sealing),
    /// The VMM refused the request.
    #[error("{reason}")]
    Refused {
        /// Whether the machine is unchanged.
        machine_intact: bool,
        /// The reason, as a sentence of the VMM.
        reason: String,
        /// Why this kind of snapshot is not possible, if another kind is.
        refusal: Option<Refusal>,
    },
    /// The microVM ended while an answer was awaited.
    #[error("the microVM ended: {0}")]
    Ended(EndReason),
    /// The VMM's process ended unexpectedly.
    #[error("the VMM's process ended")]
    Died,
    /// The VMM does not answer status requests any more.
    #[error("the VMM does not answer status requests any more")]
    Silent,
    /// The VMM sent an answer that does not belong to the request.
    #[error("the VMM sent an answer that does not belong to the request")]
    Confused,
}

/// The files that a VMM may access, and its sandbox.
#[derive(Debug, Clone, Default)]
pub struct Permitted {
    /// Files and directories that it may read.
    pub readable: Vec<PathBuf>,
    /// Directories in which it may create, change and remove files.
    pub writable: Vec<PathBuf>,
    /// Further isolation, if the node is root.
    pub jail: Option<Jail>,
    /// Arguments that tests add ([`crate::crash_point`]).
    pub further: Vec<OsString>,
}

/// The isolation of a VMM that the node needs root for: a root directory, a user and a PID namespace of its own.
#[derive(Debug, Clone)]
pub struct Jail {
    /// Numeric id of the user and of the group to which it switches.
    pub user: u32,
    /// An empty directory, at which it mounts a root of its own with nothing but the permitted paths.
    pub root: PathBuf,
}

/// A connection to one VMM.
///
/// Requests have numbers, and replies to earlier requests are skipped, so the connection stays usable after a timeout
/// or after the future of a request was dropped. Numbers begin at random, so that a request can be identified by its
/// number on other connections too (`Status::last_seal`).
#[derive(Debug)]
pub struct VmmClient {
    stream: UnixStream,
    /// Number of the next request.
    next: RequestId,
    /// Bytes that were read and are not a whole frame yet.
    input: Vec<u8>,
    /// Bytes that are still to be written.
    output: Vec<u8>,
}

impl VmmClient {
    /// Starts `program` with one end of a socket pair as its standard input. `listen` is the path of the socket on
    /// which later nodes reach it; a relative path is relative to the first directory that it may write. The process
    /// gets a process group of its own, so that a Ctrl-C here does not end it. Its messages go to `log`. It can access
    /// only the files in `permitted`, and runs in the network namespace of `slot`, or else in an empty one.
    pub fn spawn(
        program: &Path,
        listen: &Path,
        permitted: &Permitted,
        slot: Option<Slot>,
        log: OwnedFd,
    ) -> Result<(Self, process::Child), VmmError> {
        let failed = |source| VmmError::Spawn {
            program: program.to_owned(),
            source,
        };
        let (ours, theirs) = BlockingUnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        if let Some(slot) = &slot {
            give(&ours, slot).map_err(failed)?;
        }
        let mut command = process::Command::new(program);
        command
            .args(slot.map(|_| "--slot"))
            .arg("--listen")
            .arg(listen)
            .args(flags("--readable", &permitted.readable))
            .args(flags("--writable", &permitted.writable))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .env_clear()
            .process_group(0);
        command.args(&permitted.further);
        // All that may fail comes before there is a process.
        let stream = UnixStream::from_std(ours).map_err(failed)?;
        let child = match &permitted.jail {
            Some(jail) => {
                command.arg("--root").arg(&jail.root);
                command.arg("--user").arg(jail.user.to_string());
                spawn_apart(&mut command)
            }
            None => command.spawn(),
        };
        Ok((Self::new(stream), child.map_err(failed)?))
    }

    /// Connects to a running VMM.
    pub async fn connect(listen: &Path) -> Result<Self, VmmError> {
        let gone = |source| VmmError::Gone {
            path: listen.to_owned(),
            source,
        };
        let address = Address::of(listen).map_err(gone)?;
        let stream = UnixStream::connect(&address).await.map_err(gone)?;
        Ok(Self::new(stream))
    }

    fn new(stream: UnixStream) -> Self {
        let (first, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            stream,
            next: RequestId(first),
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// The number that the next request will have.
    pub fn next_id(&self) -> RequestId {
        self.next
    }

    /// Sends a command and waits for its answer. A refusal is an error. There is no time limit for a snapshot: the
    /// caller asks through another connection whether the VMM still answers ([`Command::Status`]).
    pub async fn request(&mut self, command: Command) -> Result<Reply, VmmError> {
        let limit = match command {
            Command::Snapshot(_) | Command::Suspend(_) => None,
            _ => Some(REPLY_TIMEOUT),
        };
        let id = self.next;
        self.next = RequestId(id.0.wrapping_add(1));
        let frame = frame::encode(&Request::new(id, command))?;
        self.output.extend_from_slice(&frame);
        let reply = match limit {
            None => self.reply_to(id).await?,
            Some(limit) => time::timeout(limit, self.reply_to(id))
                .await
                .map_err(|_| VmmError::Timeout(limit))??,
        };
        match reply {
            Reply::Failed {
                machine_intact,
                reason,
                refusal,
            } => Err(VmmError::Refused {
                machine_intact,
                reason: harmless(&reason),
                refusal,
            }),
            Reply::Busy(sealing) => Err(VmmError::Busy(sealing)),
            reply => Ok(reply),
        }
    }

    /// Writes pending output and waits for the reply to `id`. Cancellation safe.
    async fn reply_to(&mut self, id: RequestId) -> Result<Reply, VmmError> {
        self.write_out().await?;
        loop {
            match self.message().await? {
                Message::Reply { id: found, reply } if found == id => return Ok(reply),
                // An earlier request gave up on this one.
                Message::Reply { .. } => {}
                Message::Event(Event::Ended(reason)) => {
                    return Err(VmmError::Ended(harmless_end(reason)));
                }
            }
        }
    }

    /// Waits until the microVM ends by itself.
    pub async fn ended(&mut self) -> Result<EndReason, VmmError> {
        loop {
            match self.message().await? {
                Message::Event(Event::Ended(reason)) => return Ok(harmless_end(reason)),
                Message::Reply { .. } => {}
            }
        }
    }

    /// Waits until the process has closed its end of the connection, so that its files may be removed.
    pub async fn closed(mut self) {
        let until_closed = async { while self.message().await.is_ok() {} };
        // A process that does not go is killed by the caller, who knows its number.
        let _ = time::timeout(REPLY_TIMEOUT, until_closed).await;
    }

    async fn write_out(&mut self) -> Result<(), VmmError> {
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output).await.map_err(stream)?;
            if written == 0 {
                return Err(stream(io::ErrorKind::WriteZero.into()));
            }
            self.output.drain(..written);
        }
        Ok(())
    }

    /// The next message. Cancellation safe: half a frame stays in `input`.
    async fn message(&mut self) -> Result<Message, VmmError> {
        loop {
            if let Some(message) = take_message(&mut self.input)? {
                return Ok(message);
            }
            let count = self
                .stream
                .read_buf(&mut self.input)
                .await
                .map_err(stream)?;
            match (count, self.input.is_empty()) {
                (0, true) => return Err(FrameError::Closed.into()),
                (0, false) => return Err(stream(io::ErrorKind::UnexpectedEof.into())),
                _ => {}
            }
        }
    }
}

/// The reason for the end that a VMM reported, with its texts made safe for our own logs.
fn harmless_end(reason: EndReason) -> EndReason {
    match reason {
        EndReason::DeviceMisuse { device, fault } => EndReason::DeviceMisuse {
            device: harmless(&device),
            fault: harmless(&fault),
        },
        EndReason::Kvm(text) => EndReason::Kvm(harmless(&text)),
        other => other,
    }
}

fn stream(error: io::Error) -> VmmError {
    FrameError::from(error).into()
}

/// Takes the first whole frame off `input`, if there is one.
fn take_message(input: &mut Vec<u8>) -> Result<Option<Message>, VmmError> {
    let Some((prefix, rest)) = input.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = frame::body_length(*prefix)?;
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let message = match vmm::version_of(body) {
        Some(PROTOCOL_VERSION) => frame::decode::<Envelope>(body)?.message,
        Some(other) => return Err(VmmError::OtherVersion(other)),
        None => return Err(VmmError::Confused),
    };
    input.drain(..PREFIX_BYTES + length);
    Ok(Some(message))
}

/// Sends a slot's namespaces and TAP ahead of all requests. Inherited descriptors would need a `fork` of this process,
/// whose cost grows with its size.
fn give(stream: &BlockingUnixStream, slot: &Slot) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [&slot.namespace, &slot.ipc, &slot.uts, &slot.tap].map(AsFd::as_fd);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let payload = [IoSlice::new(&[SLOT_MARK])];
    rustix::net::sendmsg(stream, &payload, &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// The arguments for `paths`: each path after its flag.
fn flags<'a>(flag: &'a str, paths: &'a [PathBuf]) -> impl Iterator<Item = &'a OsStr> {
    paths
        .iter()
        .flat_map(move |path| [OsStr::new(flag), path.as_os_str()])
}

#[cfg(test)]
mod tests;
