//! Reads the guest's resource counters.

use std::fs;

use hearth_wire::agent::{FunctionUsage, GuestMetrics};

use crate::agent::Agent;
use crate::container::cgroup;

/// Reads all counters. A missing one is 0.
pub(crate) fn read(agent: &Agent) -> GuestMetrics {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let processes = cgroup::statistic("pids.current", None).unwrap_or(0);
    GuestMetrics {
        memory_total_kib: kib_of(&memory, "MemTotal"),
        memory_available_kib: kib_of(&memory, "MemAvailable"),
        app_cpu_us: cgroup::statistic("cpu.stat", Some("usage_usec")).unwrap_or(0),
        app_memory_bytes: cgroup::statistic("memory.current", None).unwrap_or(0),
        app_processes: u32::try_from(processes).unwrap_or(u32::MAX),
        proxy_streams: agent.slots.proxy.used(),
        exec_streams: agent.slots.exec.used(),
        log_bytes_dropped: agent.logs.dropped_bytes(),
    }
}

/// Reads what the programs of a function have used.
pub(crate) fn function_usage() -> FunctionUsage {
    let peak = cgroup::statistic("memory.peak", None);
    FunctionUsage {
        peak_memory_bytes: peak.unwrap_or(0),
        memory_kills: cgroup::statistic("memory.events", Some("oom_kill")).unwrap_or(0),
    }
}

/// Parses a line of `/proc/meminfo`: `MemTotal:     1024 kB`.
fn kib_of(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_found_by_its_name() {
        let text = "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n";
        assert_eq!(kib_of(text, "MemAvailable"), 8192);
        assert_eq!(kib_of(text, "MemFree"), 0);
    }
}
