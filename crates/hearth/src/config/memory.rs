//! `[memory]`: what the service itself may take of the host's memory, and when that counts as short.

use std::ops::RangeInclusive;
use std::time::Duration;

use hearth_service::{LEAST_MEMORY_BYTES, ShortMemory};
use serde::{Deserialize, Serialize};

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    /// What the service may take, without microVMs.
    pub(crate) service_mib: u32,
    /// How long processes together have waited for memory within two seconds when it counts as short; 0 watches nothing.
    pub(crate) short_stall_ms: u32,
    /// And what share of it is available then, at most.
    pub(crate) short_available_percent: u32,
}

impl Default for Memory {
    /// Half a gigabyte is what the bodies of a few hundred clients take, and little of a host that runs microVMs. A tenth of the time is
    /// more than a host waits whose memory suffices; a tenth of the memory is left to the kernel's caches and to launches.
    fn default() -> Self {
        Self {
            service_mib: 512,
            short_stall_ms: 200,
            short_available_percent: 10,
        }
    }
}

/// The kernel measures within two seconds.
const STALLS_MS: RangeInclusive<u32> = 0..=2000;

impl Memory {
    pub(super) fn problem(&self) -> Option<String> {
        let least_mib = LEAST_MEMORY_BYTES >> 20;
        if self.service_bytes() < LEAST_MEMORY_BYTES {
            return Some(format!(
                "memory.service_mib = {} has no room for the largest requests; write {least_mib} or more",
                self.service_mib
            ));
        }
        if !STALLS_MS.contains(&self.short_stall_ms) {
            return Some(format!(
                "memory.short_stall_ms = {} is longer than the two seconds that it is a part of; write at most {}",
                self.short_stall_ms,
                STALLS_MS.end()
            ));
        }
        (self.short_available_percent > 100).then(|| {
            format!(
                "memory.short_available_percent = {} is more than all",
                self.short_available_percent
            )
        })
    }

    /// What the service may take.
    pub(crate) fn service_bytes(&self) -> u64 {
        u64::from(self.service_mib) << 20
    }

    /// When memory counts as short.
    pub(crate) fn short(&self) -> Option<ShortMemory> {
        (self.short_stall_ms != 0).then(|| ShortMemory {
            stalled: Duration::from_millis(self.short_stall_ms.into()),
            available_percent: self.short_available_percent.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        let problem = |change: fn(&mut Memory)| {
            let mut memory = Memory::default();
            change(&mut memory);
            memory.problem().unwrap_or_default()
        };
        assert_eq!(problem(|_| ()), "");
        assert_eq!(problem(|memory| memory.service_mib = 256), "");
        assert!(problem(|memory| memory.service_mib = 255).contains("256"));
        assert!(problem(|memory| memory.short_stall_ms = 2001).contains("2000"));
        assert!(problem(|memory| memory.short_available_percent = 101).contains("101"));
    }

    #[test]
    fn nothing_is_watched_where_nobody_may_wait() {
        let memory = Memory {
            short_stall_ms: 0,
            ..Memory::default()
        };
        assert_eq!(memory.short(), None);
        let short = Memory::default().short().unwrap();
        assert_eq!(short.stalled, Duration::from_millis(200));
    }
}
