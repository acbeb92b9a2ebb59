//! The nftables rules as text: what an operator sees with `nft list ruleset`.

use std::fmt::Write as _;

use crate::addresses::{
    GATEWAY, GUEST, HOST, HOST_LINKS, RESOLVER_PORTS, SLOT_NETWORK, TAP, UPLINK,
};
use crate::egress::{CLOSED, Egress, Names};

/// Packets per second that a guest may send, and how many at once. A full gigabit in packets of 1500 bytes is 83,000.
const PACKETS_PER_SECOND: u32 = 100_000;
const PACKETS_AT_ONCE: u32 = 20_000;

/// New connections per second that a guest may make, how many at once, and connections at one time.
const CONNECTIONS_PER_SECOND: u32 = 500;
const CONNECTIONS_AT_ONCE: u32 = 1_000;
const CONNECTIONS_MAX: u32 = 4_096;

/// How long an ended connection is remembered, in the slot and on the host. `ct count` no longer counts it, but it
/// has an entry in the host's connection table, which all microVMs share. With the kernel's default of two minutes
/// one guest could fill that table. Late packets of a connection take less than these seconds. Without an entry they
/// are dropped, which does no harm.
pub(crate) const OVER_SECONDS: u32 = 5;

/// Most entries of one guest in the host's connection table (`net.netfilter.nf_conntrack_max`): live connections, and
/// ended ones that are not forgotten yet.
pub const TRACKED_CONNECTIONS_MAX: u32 =
    CONNECTIONS_MAX + CONNECTIONS_AT_ONCE + CONNECTIONS_PER_SECOND * OVER_SECONDS;

/// Most addresses that answers may have open for one guest at one time. Far more than programs talk to. An element
/// takes some 100 bytes of kernel memory.
pub(crate) const ANSWERED_MAX: usize = 4096;

/// Questions per second that a guest may ask the resolver.
const QUESTIONS_PER_SECOND: u32 = 200;

/// Refusals per second that a guest is told of. Further packets are dropped silently.
const REFUSALS_PER_SECOND: u32 = 100;

/// Removes the rules of the host. No-op if absent.
pub(crate) const NO_HOST: &str = "table inet hearth\ndelete table inet hearth\n";

/// The rules of the host: one table for all of its microVMs, which does not grow with slots.
pub(crate) fn host() -> String {
    let (first, last) = (*RESOLVER_PORTS.start(), *RESOLVER_PORTS.end());
    format!(
        r#"table inet hearth
delete table inet hearth
table inet hearth {{
    ct timeout guests {{
        protocol tcp;
        l3proto ip;
        policy = {{ close : {OVER_SECONDS}, time_wait : {OVER_SECONDS} }};
    }}
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iifname "{HOST_LINKS}*" ip daddr {HOST} udp dport {first}-{last} accept
        iifname "{HOST_LINKS}*" ip daddr {HOST} tcp dport {first}-{last} accept
        iifname "{HOST_LINKS}*" counter reject with icmpx admin-prohibited
        iifname != {{ "lo", "{HOST_LINKS}*" }} ip daddr {HOST} drop
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname "{HOST_LINKS}*" ip saddr != {SLOT_NETWORK} counter drop
        iifname "{HOST_LINKS}*" meta nfproto ipv6 drop
        iifname "{HOST_LINKS}*" oifname "{HOST_LINKS}*" counter reject with icmpx admin-prohibited
        iifname "{HOST_LINKS}*" ct state new ip protocol tcp ct timeout set "guests"
        oifname "{HOST_LINKS}*" ct state != {{ established, related }} counter drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {SLOT_NETWORK} oifname != {{ "lo", "{HOST_LINKS}*" }} masquerade
    }}
}}
"#
    )
}

/// The rules of a slot in its own namespace, apart from its egress.
pub(crate) fn slot(resolver_port: u16) -> String {
    format!(
        r#"table netdev hearth {{
    chain from_guest {{
        type filter hook ingress device "{TAP}" priority 0; policy drop;
        limit rate over {PACKETS_PER_SECOND}/second burst {PACKETS_AT_ONCE} packets drop
        ether saddr != {mac} drop
        ether type arp arp saddr ip {GUEST} arp saddr ether {mac} accept
        ether type ip ip saddr {GUEST} accept
    }}
}}
table inet hearth {{
    set answered {{
        type ipv4_addr
        flags timeout
        size {ANSWERED_MAX}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname "{TAP}" ip daddr {GATEWAY} udp dport 53 dnat ip to {HOST}:{resolver_port}
        iifname "{TAP}" ip daddr {GATEWAY} tcp dport 53 dnat ip to {HOST}:{resolver_port}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{UPLINK}" masquerade
    }}
    chain input {{
        type filter hook input priority filter; policy drop;
        limit rate over {REFUSALS_PER_SECOND}/second drop
        reject with icmpx admin-prohibited
    }}
    chain output {{
        type filter hook output priority filter; policy drop;
        ip protocol icmp accept
        tcp flags rst accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        iifname "{UPLINK}" ct state {{ established, related }} accept
        iifname != "{TAP}" drop
        meta nfproto != ipv4 drop
        ct state {{ established, related }} accept
        ct state invalid drop
        limit rate over {CONNECTIONS_PER_SECOND}/second burst {CONNECTIONS_AT_ONCE} packets drop
        ct count over {CONNECTIONS_MAX} drop
        ip daddr {HOST} ct status dnat limit rate {QUESTIONS_PER_SECOND}/second burst {QUESTIONS_PER_SECOND} packets accept
        jump egress
        limit rate over {REFUSALS_PER_SECOND}/second drop
        meta l4proto tcp reject with tcp reset
        reject with icmp admin-prohibited
    }}
    chain egress {{
    }}
}}
"#,
        mac = mac(crate::GUEST_MAC),
    )
}

/// The egress rules of a slot. They replace the earlier ones.
pub(crate) fn egress(egress: &Egress) -> String {
    let mut text = String::from("flush set inet hearth answered\nflush chain inet hearth egress\n");
    let mut add = |rule: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "add rule inet hearth egress {rule}");
    };
    for rule in &egress.rules {
        let (first, last) = rule.ports;
        let (network, protocol) = (rule.network, rule.protocol.name());
        add(&format!(
            "ip daddr {network} {protocol} dport {first}-{last} accept"
        ));
    }
    add(&format!("ip daddr {{ {} }} return", CLOSED.join(", ")));
    if egress.internet {
        add("meta l4proto tcp accept");
    }
    if matches!(egress.names, Names::Listed(_)) {
        add("ip daddr @answered meta l4proto tcp accept");
    }
    text
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
