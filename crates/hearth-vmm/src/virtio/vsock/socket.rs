//! The host's end of a stream: a nonblocking Unix socket that exchanges bytes with guest memory
//! directly.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use super::super::chain::Buffers;
use super::super::vectors::Vectors;

/// The longest line of the convention is "CONNECT 4294967295\n".
const LONGEST_LINE: usize = 32;

/// A connected, nonblocking stream socket.
#[derive(Debug)]
pub(super) struct HostSocket(OwnedFd);

/// The result of reading the first line of a host's connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// The line is not complete yet.
    Incomplete,
    /// `CONNECT <port>`.
    Connect(u32),
    /// Anything else, or the end.
    Refused,
}

impl HostSocket {
    /// Wraps a connection that a host process made. It must be nonblocking.
    pub(super) fn accepted(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Connects to the listener at `<base>_<port>`. Does not block: fails at once if there is no listener or its
    /// backlog is full.
    pub(super) fn connect(base: &Path, port: u32) -> io::Result<Self> {
        let mut path = base.as_os_str().to_owned();
        path.push(format!("_{port}"));
        let address = SocketAddrUnix::new(PathBuf::from(path))?;
        let fd = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&fd, &address)?;
        Ok(Self(fd))
    }

    /// Reads the first line and not a byte beyond it.
    pub(super) fn first_line(&self) -> FirstLine {
        let mut bytes = [0; LONGEST_LINE];
        let peeked = match rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::PEEK) {
            Ok((_, 0)) => return FirstLine::Refused,
            Ok((count, _)) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                return FirstLine::Incomplete;
            }
            Err(_) => return FirstLine::Refused,
        };
        let Some(end) = bytes[..peeked].iter().position(|byte| *byte == b'\n') else {
            let full = peeked == LONGEST_LINE;
            return if full {
                FirstLine::Refused
            } else {
                FirstLine::Incomplete
            };
        };
        let mut line = [0; LONGEST_LINE];
        match rustix::net::recv(&self.0, &mut line[..=end], RecvFlags::empty()) {
            Ok((count, _)) if count == end + 1 => {}
            _ => return FirstLine::Refused,
        }
        std::str::from_utf8(&line[..end])
            .ok()
            .and_then(|line| line.strip_prefix("CONNECT "))
            .and_then(|port| port.trim_end_matches('\r').parse().ok())
            .map_or(FirstLine::Refused, FirstLine::Connect)
    }

    /// Sends from host memory; returns the number of bytes sent.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    /// Sends from guest memory; returns the number of bytes sent.
    pub(super) fn send_guest(&self, buffers: &Buffers<'_>) -> io::Result<usize> {
        let mut vectors = Vectors::new(buffers.slices().len());
        vectors.guest(buffers);
        vectors.send(self.0.as_fd())
    }

    /// Receives into the guest memory of several chains, in order; returns the bytes received.
    pub(super) fn receive_guest<'b, 'm: 'b>(
        &self,
        chains: impl IntoIterator<Item = &'b Buffers<'m>>,
    ) -> io::Result<usize> {
        let mut vectors = Vectors::new(16);
        for buffers in chains {
            vectors.guest(buffers);
        }
        vectors.receive(self.0.as_fd())
    }

    /// Tells the host process that nothing more will come.
    pub(super) fn shutdown_write(&self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
    }

    /// Tells the host process that nothing more will be read.
    pub(super) fn shutdown_read(&self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Read);
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
