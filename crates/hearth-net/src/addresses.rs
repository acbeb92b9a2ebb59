//! Addresses and names that are the same on every host. All are in 198.18.0.0/15, which is reserved for benchmarks
//! between networks (RFC 2544), so no real destination has them.
//!
//! ```text
//! guest                slot (a namespace)                         host
//! eth0 198.19.0.2/30 ── tap0 198.19.0.1/30 · up0 198.18.S.S/32 ── hearth-S · lo 198.18.0.1/32 ── default route
//!      (every clone)         (every slot)          (its own)                     resolver
//! ```

use std::net::Ipv4Addr;

/// The address of the guest's network card in every microVM, so that a clone resumes with the right address.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);

/// The slot's end of the guest's link: the gateway and name server of the guest.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

/// The prefix length of that link.
pub const PREFIX: u8 = 30;

/// The MAC address of the guest's network card. Locally administered.
pub const GUEST_MAC: [u8; 6] = [0x02, 0x48, 0x45, 0x41, 0x52, 0x02];

/// The MAC address of the gateway: the same in every slot, because a clone remembers it.
pub(crate) const GATEWAY_MAC: [u8; 6] = [0x02, 0x48, 0x45, 0x41, 0x52, 0x01];

/// The host's address towards all slots.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// Ports of the guests' name servers. Each Hearth on a host takes the first free one, so the rules of the host are
/// the same for all.
pub(crate) const RESOLVER_PORTS: std::ops::RangeInclusive<u16> = 10_053..=10_116;

/// The numbers of slots. Smaller numbers are for addresses of the host.
pub(crate) const SLOTS: std::ops::Range<u16> = 16..u16::MAX;

/// The network that masquerading and the rules of the host apply to.
pub(crate) const SLOT_NETWORK: &str = "198.18.0.0/16";

/// The name of the slot's TAP device.
pub(crate) const TAP: &str = "tap0";

/// The name of the slot's link to the host.
pub(crate) const UPLINK: &str = "up0";

/// The prefix of the names of the host's ends.
pub(crate) const HOST_LINKS: &str = "hearth-";

/// The slot's own address on its link to the host.
pub(crate) fn slot_address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// The slot with an address. `None` if no slot has it.
pub(crate) fn slot_of(address: Ipv4Addr) -> Option<u16> {
    let [a, b, high, low] = address.octets();
    let number = u16::from_be_bytes([high, low]);
    ((a, b) == (198, 18) && SLOTS.contains(&number)).then_some(number)
}

/// The name of the host's end of a slot's link.
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
