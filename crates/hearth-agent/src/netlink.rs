//! Encodes and decodes netlink(7) messages, as far as the agent needs: headers and errors.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

// linux/netlink.h
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;

/// `struct nlmsghdr`.
pub(crate) const HEADER_BYTES: usize = 16;

/// Opens a netlink socket. Without a protocol it is for interfaces and routes (`NETLINK_ROUTE`, which is 0).
pub(crate) fn open(protocol: Option<Protocol>) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        protocol,
    )?;
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// Encodes a message with its header.
pub(crate) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    // Messages here are smaller than a page.
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and port: one request is on its way at a time.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Sends a message and waits for the kernel's acknowledgement.
pub(crate) fn confirm(socket: &OwnedFd, message: &[u8]) -> Result<(), Errno> {
    rustix::net::send(socket, message, SendFlags::empty())?;
    let mut buffer = [0; 1024];
    loop {
        let (count, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?;
        for message in messages(&buffer[..count]) {
            if message.kind == NLMSG_ERROR {
                return error_of(message.body).map_or(Ok(()), Err);
            }
        }
    }
}

/// A netlink message.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram. A truncated message ends the iteration.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Message { kind, body })
    })
}

/// The error of an error message; `None` for an acknowledgement.
pub(crate) fn error_of(body: &[u8]) -> Option<Errno> {
    let code = i32::from_ne_bytes(*body.first_chunk()?);
    (code != 0).then(|| Errno::from_raw_os_error(-code))
}
