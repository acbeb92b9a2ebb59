//! Limits of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Limits of the store. The defaults suit one host with many accounts.
#[derive(Clone, Debug)]
pub struct LogLimits {
    /// Bytes of events in one group. Above it the oldest events of the group are removed.
    pub max_group_bytes: i64,
    /// Bytes on disk of all groups of one account. Above it the oldest events of the account are removed.
    pub max_account_bytes: i64,
    /// Accounts with another number of bytes than `max_account_bytes`.
    pub accounts: Arc<BTreeMap<String, i64>>,
    /// Groups of one owner.
    pub max_groups: i64,
    /// Streams of one group: one for each microVM that was launched while the group is kept.
    pub max_streams: i64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            max_group_bytes: 1 << 30,
            // Two full groups of short lines, which take about twice the bytes they count. A dozen accounts fit on a
            // small disk.
            max_account_bytes: 4 << 30,
            accounts: Arc::default(),
            max_groups: 1000,
            max_streams: 100_000,
        }
    }
}

impl LogLimits {
    /// The bytes that an account may take on disk.
    pub(crate) fn bytes_of(&self, account: &str) -> i64 {
        let own = self.accounts.get(account).copied();
        own.unwrap_or(self.max_account_bytes)
    }
}
