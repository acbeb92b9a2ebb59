//! Places for connections: a number for all sources, and no more than a part of them for one source.
//!
//! ```text
//! take(address) -> a place -> freed when dropped
//! ```
//!
//! A *source* is an IPv4 address, or the first 64 bits of an IPv6 address, which is what one host is usually given.
//! Addresses that many clients share have no limit but that of all: 127.0.0.1 and ::1, which all clients on this host
//! have, and those that the configuration names (proxies). A limit on them would let one client shut out the others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::shares::{Share, Shares};

/// One source has at most this part of all places, so that it takes eight of them to shut out everybody else.
const PART_OF_ONE: usize = 8;

/// The bits of an IPv6 address that name its network.
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// The places of one listener or of several. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    shares: Shares<IpAddr>,
    max: usize,
    max_of_one: usize,
    shared: Arc<[IpAddr]>,
}

/// A place. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    _share: Share<IpAddr>,
}

impl Places {
    /// `max` places. `shared` are addresses of more clients than one.
    #[must_use]
    pub fn new(max: usize, shared: &[IpAddr]) -> Self {
        let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self {
            shares: Shares::new(max),
            max,
            max_of_one: (max / PART_OF_ONE).max(1),
            shared: local
                .iter()
                .chain(shared)
                .map(IpAddr::to_canonical)
                .collect(),
        }
    }

    /// `max` places for any source: for a listener all of whose clients have one address.
    #[must_use]
    pub fn for_one_address(max: usize) -> Self {
        Self {
            max_of_one: max,
            ..Self::new(max, &[])
        }
    }

    /// Takes a place for a connection from this address. `None` if there is none.
    #[must_use]
    pub fn take(&self, from: IpAddr) -> Option<Place> {
        let from = from.to_canonical();
        let taken = if self.shared.contains(&from) {
            self.shares.try_take(from, 1, self.max)
        } else {
            self.shares.try_take(source(from), 1, self.max_of_one)
        };
        taken.ok().map(|share| Place { _share: share })
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(places: &Places, from: &str) -> Vec<Place> {
        let from = from.parse().unwrap();
        std::iter::from_fn(|| places.take(from)).collect()
    }

    /// Finding L11: one address could take every place.
    #[test]
    fn one_source_has_an_eighth_and_gives_it_back() {
        let places = Places::new(80, &[]);
        let held = take_all(&places, "192.0.2.1");
        assert_eq!(held.len(), 10);
        assert_eq!(
            take_all(&places, "::ffff:192.0.2.1").len(),
            0,
            "the same source"
        );
        assert_eq!(take_all(&places, "192.0.2.2").len(), 10);
        drop(held);
        assert_eq!(take_all(&places, "192.0.2.1").len(), 10);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let places = Places::new(16, &[]);
        let _held = take_all(&places, "2001:db8::1");
        assert!(places.take("2001:db8::2:1".parse().unwrap()).is_none());
        assert!(places.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn shared_addresses_are_bounded_by_the_sum() {
        for shared in ["127.0.0.1", "::1", "192.0.2.7"] {
            let places = Places::new(16, &["192.0.2.7".parse().unwrap()]);
            assert_eq!(take_all(&places, shared).len(), 16, "{shared}");
        }
        let places = Places::for_one_address(16);
        assert_eq!(take_all(&places, "10.0.2.2").len(), 16);
    }
}
