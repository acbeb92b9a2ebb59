//! `[limits]`: limits on the disk and network use of one microVM, and on the age of unfinished uploads.

use std::time::Duration;

use hearth_node::DeviceLimits;
use hearth_wire::vmm::RateLimit;
use serde::{Deserialize, Serialize};

/// The table `[limits]`. 0 disables a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Operations a second of each disk, reads and writes together.
    pub(crate) disk_operations_per_second: u32,
    pub(crate) disk_mib_per_second: u32,
    /// Packets a second of the network card, in each direction.
    pub(crate) network_packets_per_second: u32,
    pub(crate) network_mib_per_second: u32,
    /// Days without activity after which a multipart upload is removed.
    pub(crate) unfinished_upload_days: u32,
}

impl Default for Limits {
    /// The disk limits are half the rate of an NVMe disk, so that a launch whose pages come from disk is not slowed.
    /// The network limits are two gigabits, in as many packets as the rules of a network slot can pass. AWS keeps
    /// unfinished uploads for ever and bills them; a week is what it proposes for a rule that removes them.
    fn default() -> Self {
        Self {
            disk_operations_per_second: 50_000,
            disk_mib_per_second: 1024,
            network_packets_per_second: 100_000,
            network_mib_per_second: 256,
            unfinished_upload_days: 7,
        }
    }
}

/// Least operations or packets a second: with fewer, a guest does not boot before its launch times out.
const LEAST_PER_SECOND: u32 = 100;

impl Limits {
    pub(super) fn problem(&self) -> Option<String> {
        let rates = [
            ("disk_operations", self.disk_operations_per_second),
            ("network_packets", self.network_packets_per_second),
        ];
        let (name, value) = rates
            .into_iter()
            .find(|(_, value)| (1..LEAST_PER_SECOND).contains(value))?;
        Some(format!(
            "limits.{name}_per_second = {value} is too little for a guest to start; write {LEAST_PER_SECOND} or more, or 0 for \
             no limit"
        ))
    }

    /// How long a multipart upload may receive nothing; `None` is unlimited.
    pub(crate) fn upload_silence(&self) -> Option<Duration> {
        let days = u64::from(self.unfinished_upload_days);
        (days != 0).then(|| Duration::from_secs(days * 24 * 60 * 60))
    }

    /// Converts the limits for the node.
    pub(crate) fn to_node(&self) -> DeviceLimits {
        DeviceLimits {
            disk: rate_limit(self.disk_mib_per_second, self.disk_operations_per_second),
            network: rate_limit(self.network_mib_per_second, self.network_packets_per_second),
        }
    }
}

fn rate_limit(mib_per_second: u32, operations_per_second: u32) -> Option<RateLimit> {
    let unless_zero = |value: u64| (value != 0).then_some(value);
    let limit = RateLimit {
        bytes_per_second: unless_zero(u64::from(mib_per_second) << 20),
        operations_per_second: unless_zero(operations_per_second.into()),
    };
    (limit != RateLimit::default()).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_lifts_a_limit() {
        let limits = Limits {
            disk_operations_per_second: 0,
            network_packets_per_second: 0,
            network_mib_per_second: 0,
            ..Limits::default()
        };
        let given = limits.to_node();
        let disk = given.disk.unwrap();
        assert_eq!(disk.bytes_per_second, Some(1 << 30));
        assert_eq!(disk.operations_per_second, None);
        assert_eq!(given.network, None);
        assert_eq!(limits.problem(), None);
    }
}
