//! Limits of one microVM's endpoint. The defaults follow AWS's table of size tiers (facts section 8).

/// Limits of one microVM's endpoint. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLimits {
    /// Client connections with authenticated requests at one time.
    pub connections: Option<u32>,
    /// Bytes per second, in each direction.
    pub bytes_per_second: Option<u64>,
    /// Requests per second, averaged over a few seconds.
    pub requests_per_second: Option<u32>,
}

impl EndpointLimits {
    /// No limit at all.
    pub const NONE: Self = Self {
        connections: None,
        bytes_per_second: None,
        requests_per_second: None,
    };

    /// The limits of AWS for a microVM of this baseline memory. Sizes between two tiers get the lower one.
    #[must_use]
    pub fn of_tier(memory_mib: u32) -> Self {
        let peak_vcpus = match memory_mib {
            ..1024 => 1,
            1024..2048 => 2,
            2048..4096 => 4,
            4096..8192 => 8,
            8192.. => 16,
        };
        Self {
            connections: Some(8 * peak_vcpus),
            bytes_per_second: Some(1_000_000 * u64::from(peak_vcpus)),
            requests_per_second: Some(10 * peak_vcpus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_follow_the_table() {
        for (memory_mib, connections, megabytes) in [
            (512, 8, 1),
            (1024, 16, 2),
            (2048, 32, 4),
            (4096, 64, 8),
            (8192, 128, 16),
        ] {
            let limits = EndpointLimits::of_tier(memory_mib);
            assert_eq!(limits.connections, Some(connections));
            assert_eq!(limits.bytes_per_second, Some(megabytes * 1_000_000));
        }
        assert_eq!(EndpointLimits::of_tier(3000), EndpointLimits::of_tier(2048));
    }
}
