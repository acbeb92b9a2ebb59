//! Accepts streams: on a vsock port in a guest, on a TCP port in the emulated host.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use hearth_wire::agent::AGENT_PORT;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::{readiness, vsock};

/// Pause after a connection could not be accepted, for example because no descriptor was free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 256;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: AsyncFd<OwnedFd>,
    is_vsock: bool,
}

impl Listener {
    /// Listens on the agent's vsock port, in a guest.
    pub(crate) fn vsock() -> io::Result<Self> {
        Ok(Self {
            socket: readiness::register(vsock::listen(AGENT_PORT)?, Interest::READABLE)?,
            is_vsock: true,
        })
    }

    /// Listens on a TCP port of all addresses: QEMU's user network delivers to the network card's address.
    pub(crate) fn tcp(port: u16) -> io::Result<Self> {
        Self::over(tcp_socket(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?)
    }

    /// Wraps a listening TCP socket.
    pub(crate) fn over(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: readiness::register(socket, Interest::READABLE)?,
            is_vsock: false,
        })
    }

    /// Accepts the next connection of an allowed peer.
    pub(crate) async fn accept(&self) -> OwnedFd {
        loop {
            match self.accept_any().await {
                Ok(connection) if self.is_welcome(&connection) => return connection,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn accept_any(&self) -> io::Result<OwnedFd> {
        loop {
            let mut ready = self.socket.readable().await?;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(self.socket.get_ref(), flags) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                // The peer was gone before it was accepted.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                accepted => return Ok(accepted?),
            }
        }
    }

    /// Whether the peer is allowed. On vsock only the host is: with the loopback transport (`vsock_loopback`, which the
    /// agent does not load) the application could connect too. TCP peers authenticate later with a token.
    fn is_welcome(&self, connection: &OwnedFd) -> bool {
        if self.is_vsock {
            return vsock::peer_cid(connection) == Ok(vsock::HOST_CID);
        }
        // Frames are answered one by one; waiting to fill a segment would only add delay.
        rustix::net::sockopt::set_tcp_nodelay(connection, true).is_ok()
    }
}

/// Creates a TCP socket that listens at this address.
pub(crate) fn tcp_socket(address: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
