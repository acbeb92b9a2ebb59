//! Creates pairs of connected virtual network cards (veth(4)) through rtnetlink(7). The code is safe; it is here beside
//! the other functions for interfaces.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use crate::netlink::{self, NLM_F_ACK, NLM_F_REQUEST};

// linux/rtnetlink.h, linux/netlink.h
const RTM_NEWLINK: u16 = 16;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

// linux/if_link.h, linux/veth.h
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// `struct ifinfomsg` of an interface that is to be created.
const NEW_INTERFACE: [u8; 16] = [0; 16];

/// Creates a pair: `name` in this network namespace, `peer` in `peer_namespace`.
pub(crate) fn make(name: &str, peer: &str, peer_namespace: &OwnedFd) -> Result<(), Errno> {
    let socket = netlink::open(None)?;
    let body = request(name, peer, peer_namespace.as_raw_fd());
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    netlink::confirm(&socket, &netlink::message(RTM_NEWLINK, flags, &body))
}

fn request(name: &str, peer: &str, peer_namespace: i32) -> Vec<u8> {
    let other_end = [
        NEW_INTERFACE.to_vec(),
        attribute(IFLA_IFNAME, &text(peer)),
        attribute(IFLA_NET_NS_FD, &peer_namespace.to_ne_bytes()),
    ];
    let kind = [
        attribute(IFLA_INFO_KIND, &text("veth")),
        attribute(
            IFLA_INFO_DATA,
            &attribute(VETH_INFO_PEER, &other_end.concat()),
        ),
    ];
    let whole = [
        NEW_INTERFACE.to_vec(),
        attribute(IFLA_IFNAME, &text(name)),
        attribute(IFLA_LINKINFO, &kind.concat()),
    ];
    whole.concat()
}

/// Encodes a `struct rtattr` with its content, padded to four bytes.
fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Contents here are smaller than a page.
    bytes.extend((4 + content.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_filled_up_and_say_their_own_length() {
        assert_eq!(attribute(3, b"ab\0"), [7, 0, 3, 0, b'a', b'b', 0, 0]);
        assert_eq!(request("a", "b", 5).len() % 4, 0);
    }
}
