//! The nftables set of addresses that answers have opened for a slot's guest, written without an `nft` process for
//! each answer.
//!
//! A netlink socket stays in the slot's namespace, whichever thread uses it. A write is one nf_tables batch, which
//! the kernel applies as a whole or not at all (`linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`):
//!
//! ```text
//! begin | add elements | delete them | add them with their time | end
//! ```
//!
//! Adding an existing element does not change its timeout. So each element is deleted and added again. The first
//! addition makes sure that there is an element to delete.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Message types of `nfnetlink.h`: the ends of a batch, and the subsystem in the upper byte of all others.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;

/// `NFT_MSG_NEWSETELEM` and `NFT_MSG_DELSETELEM`.
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;

/// Netlink flags: a request, its acknowledgement, and permission to create.
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;

/// `NLMSG_ERROR`. With error number zero it is an acknowledgement.
const OUTCOME: u16 = 2;

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Attributes of a list of elements (`NFTA_SET_ELEM_LIST_*`), and of one (`NFTA_LIST_ELEM`, `NFTA_SET_ELEM_*`, `NFTA_DATA_VALUE`).
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3 | NESTED;
const ELEMENT: u16 = 1 | NESTED;
const ELEMENT_KEY: u16 = 1 | NESTED;
const ELEMENT_TIMEOUT: u16 = 4;
const DATA_VALUE: u16 = 1;

/// `NFPROTO_INET`, the family of the slot's table.
const INET: u8 = 1;

/// The table and set, as in [`crate::rules`], with the zero byte that ends a netlink string.
const TABLE: &[u8] = b"hearth\0";
const SET: &[u8] = b"answered\0";

/// More than the kernel's answer to one batch.
const ANSWER_BYTES: usize = 16 * 1024;

/// A connection to the set of one slot.
#[derive(Debug)]
pub(crate) struct AnsweredSet {
    socket: OwnedFd,
}

impl AnsweredSet {
    /// Opens the set of the slot whose namespace the calling thread is in.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )?;
        Ok(Self { socket })
    }

    /// Opens addresses, each for its time from now on. They are open when this returns.
    pub(crate) fn put(&self, elements: &[(Ipv4Addr, Duration)]) -> io::Result<()> {
        let batch = batch(elements);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.socket, &batch, SendFlags::empty(), &kernel)?;
        self.outcome()
    }

    /// The kernel's answer to the last batch. The whole answer is there before the send of the batch returns.
    fn outcome(&self) -> io::Result<()> {
        let mut is_acknowledged = false;
        let mut refusal = None;
        loop {
            let mut buffer = vec![0; ANSWER_BYTES];
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    for number in outcomes(&buffer[..length]) {
                        match number {
                            0 => is_acknowledged = true,
                            number => refusal = refusal.or(Some(number)),
                        }
                    }
                }
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        match refusal {
            Some(number) => Err(io::Error::from_raw_os_error(number)),
            None if is_acknowledged => Ok(()),
            None => Err(io::Error::other("the kernel did not answer nf_tables")),
        }
    }
}

fn batch(elements: &[(Ipv4Addr, Duration)]) -> Vec<u8> {
    let untimed: Vec<_> = elements.iter().map(|&(key, _)| (key, None)).collect();
    let timed: Vec<_> = elements
        .iter()
        .map(|&(key, time)| (key, Some(time)))
        .collect();
    let mut batch = Vec::new();
    message(&mut batch, BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]);
    let list = |elements| list(elements);
    message(
        &mut batch,
        NEW_ELEMENT,
        REQUEST | CREATE,
        INET,
        0,
        &list(&untimed),
    );
    message(
        &mut batch,
        DELETE_ELEMENT,
        REQUEST,
        INET,
        0,
        &list(&untimed),
    );
    let last = REQUEST | CREATE | ACKNOWLEDGE;
    message(&mut batch, NEW_ELEMENT, last, INET, 0, &list(&timed));
    message(&mut batch, BATCH_END, REQUEST, 0, SUBSYSTEM, &[]);
    batch
}

/// `nlmsghdr` and `nfgenmsg`, then the attributes. Sequence and port stay zero: an answer is always for the last
/// batch.
fn message(batch: &mut Vec<u8>, kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) {
    const HEADERS: usize = 16 + 4;
    let length = u32::try_from(HEADERS + body.len()).unwrap_or(u32::MAX);
    batch.extend(length.to_ne_bytes());
    batch.extend(kind.to_ne_bytes());
    batch.extend(flags.to_ne_bytes());
    batch.extend([0; 8]);
    batch.extend([family, 0]);
    batch.extend(resource.to_be_bytes());
    batch.extend(body);
}

fn list(elements: &[(Ipv4Addr, Option<Duration>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, time) in elements {
        let mut value = Vec::new();
        attribute(&mut value, DATA_VALUE, &key.octets());
        let mut element = Vec::new();
        attribute(&mut element, ELEMENT_KEY, &value);
        if let Some(time) = time {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            attribute(&mut element, ELEMENT_TIMEOUT, &millis.to_be_bytes());
        }
        attribute(&mut all, ELEMENT, &element);
    }
    let mut list = Vec::new();
    attribute(&mut list, LIST_TABLE, TABLE);
    attribute(&mut list, LIST_SET, SET);
    attribute(&mut list, LIST_ELEMENTS, &all);
    list
}

/// `nlattr`: length, kind and value, padded to a multiple of four.
fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    const HEADER: usize = 4;
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// The error numbers in the kernel's answer. Zero is an acknowledgement.
fn outcomes(mut messages: &[u8]) -> Vec<i32> {
    const HEADER: usize = 16;
    let mut numbers = Vec::new();
    while let Some((header, rest)) = messages.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == OUTCOME
            && let Some(&[a, b, c, d]) = rest.first_chunk()
        {
            numbers.push(-i32::from_ne_bytes([a, b, c, d]));
        }
        let next = length.max(HEADER).next_multiple_of(4);
        messages = messages.get(next..).unwrap_or_default();
    }
    numbers
}
