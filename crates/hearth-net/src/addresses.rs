//! Addresses and names that are the same on every host. All lie in 198.18.0.0/15, which is set aside for
//! measurements between networks (RFC 2544) and so is nobody's destination.
//!
//! ```text
//! guest                slot (a namespace)                         host
//! eth0 198.19.0.2/30 ── tap0 198.19.0.1/30 · up0 198.18.S.S/32 ── hearth-S · lo 198.18.0.1/32 ── default route
//!      (every clone)         (every slot)          (its own)                     resolver
//! ```

use std::net::Ipv4Addr;

/// The guest's card in every microVM, so that a clone wakes up with an address that is right.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);

/// The slot's end of the guest's link: gateway and name server.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

/// Length of the prefix of that link.
pub const PREFIX: u8 = 30;

/// Hardware address of the guest's card. Locally administered.
pub const GUEST_MAC: [u8; 6] = [0x02, 0x48, 0x45, 0x41, 0x52, 0x02];

/// Hardware address of the gateway: the same in every slot, because a clone remembers it.
pub(crate) const GATEWAY_MAC: [u8; 6] = [0x02, 0x48, 0x45, 0x41, 0x52, 0x01];

/// The host's end of all slots.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// Ports of the guests' name servers: each Hearth on a host takes the first that is free, so that the rules of the host are
/// the same for all.
pub(crate) const RESOLVER_PORTS: std::ops::RangeInclusive<u16> = 10_053..=10_116;

/// Numbers of slots; the smaller ones are the host's own.
pub(crate) const SLOTS: std::ops::Range<u16> = 16..u16::MAX;

/// What masquerading and the rules of the host apply to.
pub(crate) const SLOT_NETWORK: &str = "198.18.0.0/16";

/// The slot's TAP.
pub(crate) const TAP: &str = "tap0";

/// The slot's way to the host.
pub(crate) const UPLINK: &str = "up0";

/// Beginning of the names of the host's ends.
pub(crate) const HOST_LINKS: &str = "hearth-";

/// The slot's own address on its way to the host.
pub(crate) fn slot_address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// The slot that has an address.
pub(crate) fn slot_of(address: Ipv4Addr) -> Option<u16> {
    let [a, b, high, low] = address.octets();
    let number = u16::from_be_bytes([high, low]);
    ((a, b) == (198, 18) && SLOTS.contains(&number)).then_some(number)
}

/// Name of the host's end of a slot.
pub(crate) fn host_link(number: u16) -> String {
    format!("{HOST_LINKS}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_known_by_its_address() {
        for number in [16, 256, 65_534] {
            assert_eq!(slot_of(slot_address(number)), Some(number));
        }
        for other in [HOST, GUEST, Ipv4Addr::LOCALHOST, slot_address(u16::MAX)] {
            assert_eq!(slot_of(other), None);
        }
    }
}
