//! AF_VSOCK sockets, which `rustix` does not support.

use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::check;

/// Most connections that wait to be accepted. The host opens one for each proxied request, in bursts.
const BACKLOG: i32 = 256;

/// Context id of the host.
pub(crate) const HOST_CID: u32 = libc::VMADDR_CID_HOST;

/// Creates a non-blocking listening socket on `port` of every context id that the guest has.
///
/// A listener survives the transport reset that follows a restore: the driver resets connected sockets only
/// (VIRTIO 1.3 section 5.10.6.7).
pub(crate) fn listen(port: u32) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::VSOCK,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let address = address(libc::VMADDR_CID_ANY, port);
    // SAFETY: the pointer and the length describe a whole `sockaddr_vm`, which lives until the call returns.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            address_bytes(),
        )
    })?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Creates a non-blocking socket and begins to connect it.
pub(crate) fn connect(cid: u32, port: u32) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::VSOCK,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let address = address(cid, port);
    // SAFETY: the pointer and the length describe a whole `sockaddr_vm`, which lives until the call returns.
    let connected = check(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            address_bytes(),
        )
    });
    match connected {
        Ok(_) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Context id of the peer of a connected socket.
pub(crate) fn peer_cid(socket: impl AsFd) -> Result<u32, Errno> {
    let mut address = address(0, 0);
    let mut length = address_bytes();
    // SAFETY: the pointers describe a whole `sockaddr_vm` and its length; the kernel writes no more than that.
    check(unsafe {
        libc::getpeername(
            socket.as_fd().as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    })?;
    Ok(address.svm_cid)
}

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: all-zero bytes are a valid `sockaddr_vm`: it is made of integers.
    let mut address: libc::sockaddr_vm = unsafe { mem::zeroed() };
    // The constant fits: address families are small numbers.
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    address
}

fn address_bytes() -> libc::socklen_t {
    // A `sockaddr_vm` is 16 bytes.
    mem::size_of::<libc::sockaddr_vm>() as libc::socklen_t
}
