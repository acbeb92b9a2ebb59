//! Limits of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Limits of the logs of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLogLimits {
    /// Bytes on disk of all its groups. Above it the oldest events of the account are removed.
    pub max_bytes: i64,
    /// Events that it may write in a second.
    pub events_per_second: u32,
}

impl Default for AccountLogLimits {
    fn default() -> Self {
        Self {
            // Two full groups of short lines, which take about twice the bytes they count. A dozen accounts fit on a
            // small disk.
            max_bytes: 4 << 30,
            events_per_second: u32::MAX,
        }
    }
}

/// Limits of the store. The defaults suit one host with many accounts.
#[derive(Clone, Debug)]
pub struct LogLimits {
    /// Bytes of events in one group. Above it the oldest events of the group are removed.
    pub max_group_bytes: i64,
    /// Limits of an account without its own.
    pub account: AccountLogLimits,
    /// Accounts with limits of their own.
    pub accounts: Arc<BTreeMap<String, AccountLogLimits>>,
    /// Groups of one owner.
    pub max_groups: i64,
    /// Streams of one group: one for each microVM that was launched while the group is kept.
    pub max_streams: i64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            max_group_bytes: 1 << 30,
            account: AccountLogLimits::default(),
            accounts: Arc::default(),
            max_groups: 1000,
            max_streams: 100_000,
        }
    }
}

impl LogLimits {
    /// The limits of an account.
    pub(crate) fn of(&self, account: &str) -> AccountLogLimits {
        let own = self.accounts.get(account).copied();
        own.unwrap_or(self.account)
    }

    /// The bytes that an account may take on disk.
    pub(crate) fn bytes_of(&self, account: &str) -> i64 {
        self.of(account).max_bytes
    }
}
