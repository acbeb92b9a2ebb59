//! Destroys connections that lead out of the guest, through SOCK_DIAG (sock_diag(7)).
//!
//! After a restore the peers are gone, or connected to the guest of which the snapshot was taken. The application gets
//! an error at once instead of waiting for a timeout. Connections inside the guest continue: loopback, and connections
//! of the guest to its own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, netlink as protocols};

use crate::fault::{Fault, Step};
use crate::netlink::{self, NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, error_of, messages};

// linux/netlink.h, linux/sock_diag.h
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLM_F_DUMP: u16 = 0x300;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// All states of net/tcp_states.h but closed (7) and listening (10): listeners have no peer.
const CONNECTED_STATES: u32 = !(1 << 7 | 1 << 10);

/// `struct inet_diag_sockid`.
const ID_BYTES: usize = 48;

/// Offset of the id in `struct inet_diag_msg`: after family, state, timer and retransmissions.
const ID_OFFSET: usize = 4;

/// Largest datagram of a dump in bytes.
const MAX_DATAGRAM_BYTES: usize = 32 << 10;

/// Rounds of dumping and destroying: sockets can move in the table while it is read.
const ROUNDS: usize = 4;

/// Destroys all TCP connections, and connected UDP sockets, whose peer is not this guest.
pub(crate) fn destroy_outbound() -> Result<(), Fault> {
    let socket = netlink::open(Some(protocols::SOCK_DIAG)).step("open the socket diagnostics")?;
    for family in [AF_INET, AF_INET6] {
        destroy_kind(&socket, family, IPPROTO_TCP).step("destroy TCP connections")?;
        match destroy_kind(&socket, family, IPPROTO_UDP) {
            // The module `udp_diag` is not there. Datagrams to a peer that has gone are nothing that an
            // application waits for.
            Err(Errno::NOENT) => {}
            destroyed => destroyed.step("destroy UDP connections")?,
        }
    }
    Ok(())
}

fn destroy_kind(socket: &OwnedFd, family: u8, protocol: u8) -> Result<(), Errno> {
    for _ in 0..ROUNDS {
        let found = dump(socket, family, protocol)?;
        if found.is_empty() {
            break;
        }
        for id in &found {
            destroy(socket, family, protocol, id)?;
        }
    }
    Ok(())
}

/// The kernel's identity of a socket.
type SocketId = [u8; ID_BYTES];

/// Ids of the sockets whose peers are outside the guest.
fn dump(socket: &OwnedFd, family: u8, protocol: u8) -> Result<Vec<SocketId>, Errno> {
    let request = request(
        SOCK_DIAG_BY_FAMILY,
        NLM_F_REQUEST | NLM_F_DUMP,
        (family, protocol),
        &[0; ID_BYTES],
    );
    rustix::net::send(socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let (count, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?;
        for message in messages(&buffer[..count]) {
            match message.kind {
                NLMSG_DONE => return done(message.body).map(|()| found),
                NLMSG_ERROR => return Err(error_of(message.body).unwrap_or(Errno::PROTO)),
                SOCK_DIAG_BY_FAMILY => found.extend(outbound_id(message.body)),
                _ => {}
            }
        }
    }
}

fn destroy(socket: &OwnedFd, family: u8, protocol: u8, id: &SocketId) -> Result<(), Errno> {
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    let request = request(SOCK_DESTROY, flags, (family, protocol), id);
    match netlink::confirm(socket, &request) {
        // It ended by itself meanwhile.
        Err(Errno::NOENT) => Ok(()),
        confirmed => confirmed,
    }
}

/// Encodes a `struct inet_diag_req_v2` with its header.
fn request(kind: u16, flags: u16, (family, protocol): (u8, u8), id: &SocketId) -> Vec<u8> {
    // No extensions, one byte of padding.
    let mut body = vec![family, protocol, 0, 0];
    body.extend(CONNECTED_STATES.to_ne_bytes());
    body.extend(id);
    netlink::message(kind, flags, &body)
}

/// The id of a socket, if its peer is outside the guest.
fn outbound_id(body: &[u8]) -> Option<SocketId> {
    let id: &SocketId = body.get(ID_OFFSET..)?.first_chunk()?;
    let family = *body.first()?;
    // Two ports of two bytes, then source and destination of 16 bytes each.
    let source = address(family, id.get(4..20)?)?;
    let destination = address(family, id.get(20..36)?)?;
    is_outbound(source, destination).then_some(*id)
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        AF_INET6 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).to_canonical()),
        _ => None,
    }
}

fn is_outbound(source: IpAddr, destination: IpAddr) -> bool {
    !destination.is_loopback() && !destination.is_unspecified() && destination != source
}

/// Checks the final message of a dump, which carries its error, if any.
fn done(body: &[u8]) -> Result<(), Errno> {
    error_of(body).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
