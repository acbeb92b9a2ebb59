//! How much may be kept.

/// Bounds of a store. The defaults suit one host with many tenants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of events in one group; past them its oldest events are removed.
    pub max_group_bytes: i64,
    /// Bytes that all groups of one account may take of the disk; past them its oldest events are removed.
    pub max_account_bytes: i64,
    /// Groups of one owner.
    pub max_groups: i64,
    /// Streams of one group: one for each microVM that was launched while the group is kept.
    pub max_streams: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_group_bytes: 1 << 30,
            // Two full groups of short lines, which take about twice of what they count. A dozen accounts fit on a small disk.
            max_account_bytes: 4 << 30,
            max_groups: 1000,
            max_streams: 100_000,
        }
    }
}
