//! Checks whether the host's connection tracking table has room for the connections of all microVMs.

use super::{Check, Subject, meminfo_bytes};
use crate::doctor::facts::Facts;

/// The baseline of the smallest microVM.
const SMALLEST_MICROVM_BYTES: u64 = 512 << 20;

pub(super) fn connection_table(facts: &Facts) -> Check {
    let subject = Subject {
        name: "connections",
        why: "all microVMs share the host's table of connections; when it is full, nobody on this host connects",
    };
    if !facts.wants_network || !facts.kvm.is_usable() {
        return subject.good("not needed");
    }
    let Some(size) = facts.connection_table else {
        return subject
            .good("the table is made with the first network: look again while hearth up runs");
    };
    let memory = meminfo_bytes(&facts.meminfo, "MemAvailable").unwrap_or_default();
    let microvms = (memory / SMALLEST_MICROVM_BYTES).max(1);
    let wanted = microvms * u64::from(hearth_net::TRACKED_CONNECTIONS_MAX);
    let found = format!(
        "the table has {size} entries; {microvms} microVMs, which fit the memory, have at most {wanted}"
    );
    if size >= wanted {
        return subject.good(found);
    }
    let mend = format!(
        "echo net.netfilter.nf_conntrack_max={wanted} > /etc/sysctl.d/90-hearth.conf && sysctl --system (a full table takes some 320 bytes an entry)"
    );
    subject.advice(found, &mend)
}
