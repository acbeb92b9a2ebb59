//! Descriptors of the agent's event loop: sockets, pipes and terminals, and the framing of messages on them.
//!
//! Reads share one buffer of the thread. A waiting stream therefore owns no buffer, so that thousands of idle proxy
//! streams cost next to nothing in every clone.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hearth_wire::agent::MAX_CHUNK_BYTES;
use hearth_wire::frame::{self, FrameError, PREFIX_BYTES};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::readiness;

thread_local! {
    /// Buffer of all reads. The reader consumes the bytes within one turn of the event loop.
    static SHARED: RefCell<Box<[u8; MAX_CHUNK_BYTES]>> = RefCell::new(Box::new([0; MAX_CHUNK_BYTES]));
}

/// The readiness that wakes a reader. After a restore the kernel resets all vsock sockets, and reports that as an error
/// and not as readable (`virtio_vsock_reset_sock`, `vsock_poll`): a reader that waits only for readability would wait
/// for ever.
const READ: Interest = Interest::READABLE.add(Interest::ERROR);

/// The readiness that wakes a writer.
const WRITE: Interest = Interest::WRITABLE.add(Interest::ERROR);

/// A non-blocking descriptor.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: AsyncFd<OwnedFd>,
}

impl Channel {
    /// Wraps a socket, a pipe or a terminal, and makes it non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        set_blocking(&fd, false)?;
        Ok(Self {
            fd: readiness::register(fd, Interest::READABLE | Interest::WRITABLE)?,
        })
    }

    /// Gives the descriptor back, still non-blocking.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd.into_inner()
    }

    /// Waits for bytes, or the end of the stream (an empty slice), and passes them to `consume`.
    pub(crate) async fn read<R>(&self, mut consume: impl FnMut(&[u8]) -> R) -> io::Result<R> {
        loop {
            let mut ready = self.fd.ready(READ).await?;
            match self.read_now(&mut consume) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                result => return Ok(result?),
            }
        }
    }

    /// Same as [`Channel::read`], but fails with [`Errno::AGAIN`] instead of waiting.
    pub(crate) fn read_now<R>(&self, consume: impl FnOnce(&[u8]) -> R) -> Result<R, Errno> {
        SHARED.with_borrow_mut(|shared| {
            let count =
                rustix::io::retry_on_intr(|| rustix::io::read(self.fd.get_ref(), &mut shared[..]))?;
            Ok(consume(&shared[..count]))
        })
    }

    /// Writes as much as possible without waiting. Answers the number of bytes, 0 if none.
    pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::io::write(self.fd.get_ref(), bytes)) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all bytes.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.fd.ready(WRITE).await?;
            match rustix::io::retry_on_intr(|| rustix::io::write(self.fd.get_ref(), bytes)) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until a pending connection is established, or has failed.
    pub(crate) async fn connected(&self) -> io::Result<()> {
        drop(self.fd.ready(WRITE).await?);
        rustix::net::sockopt::socket_error(self.fd.get_ref())??;
        Ok(())
    }

    /// Shuts down the writing side of a socket.
    pub(crate) fn finish_writing(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.fd.get_ref(), Shutdown::Write)?)
    }

    /// Whether the peer has closed the connection, even if there are bytes to be read.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.get_ref(), PollFlags::RDHUP)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(gone)
    }

    /// Receives one message of at most `limit_bytes`.
    pub(crate) async fn receive<T: DeserializeOwned>(
        &self,
        limit_bytes: usize,
    ) -> Result<T, FrameError> {
        frame::decode(&self.receive_body(limit_bytes).await?)
    }

    /// Receives the body of one frame of at most `limit_bytes`.
    pub(crate) async fn receive_body(&self, limit_bytes: usize) -> Result<Vec<u8>, FrameError> {
        let mut prefix = [0; PREFIX_BYTES];
        let filled = self.fill(&mut prefix).await?;
        if filled == 0 {
            return Err(FrameError::Closed);
        }
        if filled < prefix.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let length = frame::body_length(prefix)?;
        if length > limit_bytes {
            return Err(FrameError::TooLarge(length));
        }
        // Memory follows the bytes that came, not the length that was announced.
        let mut body = Vec::new();
        while body.len() < length {
            let start = body.len();
            body.resize(length.min(start + MAX_CHUNK_BYTES), 0);
            if self.fill(&mut body[start..]).await? < body.len() - start {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(body)
    }

    /// Sends one message.
    pub(crate) async fn send<T: Serialize>(&self, message: &T) -> Result<(), FrameError> {
        Ok(self.write_all(&frame::encode(message)?).await?)
    }

    /// Reads until `buffer` is full or the stream ends; the number of bytes read.
    async fn fill(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut ready = self.fd.ready(READ).await?;
            match rustix::io::retry_on_intr(|| {
                rustix::io::read(self.fd.get_ref(), &mut buffer[filled..])
            }) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

/// Makes an open file blocking or non-blocking.
pub(crate) fn set_blocking(fd: impl AsFd, blocking: bool) -> Result<(), Errno> {
    let fd = fd.as_fd();
    let flags = rustix::fs::fcntl_getfl(fd)?;
    let mut wanted = flags;
    wanted.set(OFlags::NONBLOCK, !blocking);
    if wanted != flags {
        rustix::fs::fcntl_setfl(fd, wanted)?;
    }
    Ok(())
}
