//! Registers descriptors with the event loop.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a socket, a pipe, a terminal or another descriptor that epoll supports.
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers the same number all its life and closes it only when it is dropped, which
    // the `AsyncFd` does after the registration is gone.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}
