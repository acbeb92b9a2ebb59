//! Whether something bounds what the service itself takes of the host's memory.

use super::{Check, Subject};
use crate::doctor::facts::{Facts, ServiceBound};
use crate::up::SERVICE_END_FACTOR;
use crate::view::size;

/// As the configuration says it, by the unit that runs the service.
pub(super) fn service_memory(facts: &Facts) -> Check {
    let subject = Subject {
        name: "service memory",
        why: "a flood of requests must not cost microVMs their memory",
    };
    // Without limits of microVMs, they are in the same group. The emulated host has a memory of its own.
    if !facts.wants_host_limits || !facts.kvm.is_usable() {
        return subject.good("not needed");
    }
    let wanted = facts.service_bytes * SERVICE_END_FACTOR;
    match facts.service_bound {
        ServiceBound::NotRunning => subject.good("the service does not run"),
        ServiceBound::Bytes(bytes) if bytes <= wanted => {
            subject.good(format!("it ends at {}", size(bytes)))
        }
        ServiceBound::Bytes(bytes) => subject.advice(
            format!("it ends at {}, not at {}", size(bytes), size(wanted)),
            "systemctl restart hearth: at its start the service sets what memory.service_mib says",
        ),
        ServiceBound::Nothing => subject.advice(
            "nothing bounds it",
            "run it as the unit: systemctl start hearth; or in a group of control that has memory.max",
        ),
    }
}
