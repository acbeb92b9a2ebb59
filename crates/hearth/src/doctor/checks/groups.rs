//! Checks of control groups: whether microVMs can be limited, and whether their memory can be guaranteed.

use super::{Check, Subject};
use crate::doctor::facts::Facts;

/// Controllers without which the service does not start with limits.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

/// Checks whether the kernel has the controllers, and whether groups below the root have them.
pub(super) fn controllers(facts: &Facts) -> Check {
    let subject = Subject {
        name: "limits",
        why: "each microVM has a control group of its size, in which its baseline of memory is kept for it (memory.min)",
    };
    // The emulated host brings its own kernel.
    if !facts.wants_host_limits || !facts.kvm.is_usable() {
        return subject.good("not needed");
    }
    let Some(listed) = &facts.controllers else {
        return subject.fails(
            "there are no control groups of version 2 at /sys/fs/cgroup",
            "boot with systemd.unified_cgroup_hierarchy=1, or: hearth up --no-host-limits",
        );
    };
    let has = |list: &str, name: &str| list.split_whitespace().any(|listed| listed == name);
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|name| !has(listed, name))
        .collect();
    if !missing.is_empty() {
        return subject.fails(
            format!("the kernel has no controller {}", missing.join(", ")),
            "boot with cgroup_enable=memory, or another kernel; or: hearth up --no-host-limits",
        );
    }
    let handed_down = facts.handed_down.as_deref().unwrap_or_default();
    if NEEDED.into_iter().all(|name| has(handed_down, name)) {
        return subject.good(format!("{} are enabled for groups", NEEDED.join(", ")));
    }
    if facts.can_hand_down {
        return subject.good(format!(
            "`hearth up` enables {} for groups",
            NEEDED.join(", ")
        ));
    }
    subject.fails(
        "controllers are not enabled for groups, and this process may not enable them",
        "echo '+cpu +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control, as root of the host and not of a container",
    )
}

/// Checks whether the kernel measures memory pressure (PSI).
pub(super) fn pressure(facts: &Facts) -> Check {
    let subject = Subject {
        name: "pressure",
        why: "it tells that memory is short before the kernel has to kill: guests are asked to give some back, and idle microVMs are suspended",
    };
    if !facts.wants_pressure {
        return subject.good("not needed: memory.short_stall_ms = 0");
    }
    if facts.pressure.is_some() {
        subject.good("the kernel measures it")
    } else {
        subject.advice(
            "the kernel does not measure it",
            "boot with psi=1, under a kernel with CONFIG_PSI",
        )
    }
}
