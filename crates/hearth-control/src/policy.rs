//! Limits and durations that an operator may change. The defaults are those of AWS (facts section 13).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::AccountId;

mod quotas;

pub use quotas::Quotas;

/// The limits and durations of the control plane.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The quotas of each account.
    pub quotas: Quotas,
    /// The quotas of single accounts, which replace `quotas` for them.
    pub account_quotas: BTreeMap<AccountId, Quotas>,
    /// The capacity of the host.
    pub capacity: Capacity,
    /// The longest maximum duration of a microVM, and the default.
    pub max_duration: Duration,
    /// How long TERMINATED microVMs stay visible.
    pub terminated_retention: Duration,
    /// How long a client token is remembered.
    pub token_retention: Duration,
    /// How long concluded journal entries are kept.
    pub journal_retention: Duration,
    /// The interval of reconciliation.
    pub reconcile_interval: Duration,
    /// A factor on every hook timeout. One on hardware, more where guests run under emulation.
    pub hook_timeout_scale: u32,
    /// The timeout of one build.
    pub build_deadline: Duration,
    /// How often an interrupted build begins before it fails.
    pub max_build_attempts: u32,
}

impl Policy {
    /// The quotas of one account.
    #[must_use]
    pub fn quotas_of(&self, account: AccountId) -> &Quotas {
        self.account_quotas.get(&account).unwrap_or(&self.quotas)
    }
}

/// The capacity of the host.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Baseline memory of the microVMs in memory at one time, in MiB.
    pub resident_mib: u64,
    /// The number of microVMs in memory at one time.
    pub resident_microvms: u32,
    /// Builds that run at one time. Others wait.
    pub concurrent_builds: u32,
    /// The least memory of a build, in MiB: that of its builder.
    pub builder_mib: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            account_quotas: BTreeMap::new(),
            capacity: Capacity::default(),
            max_duration: Duration::from_secs(8 * 60 * 60),
            terminated_retention: Duration::from_secs(24 * 60 * 60),
            token_retention: Duration::from_secs(24 * 60 * 60),
            journal_retention: Duration::from_secs(24 * 60 * 60),
            reconcile_interval: Duration::from_secs(30),
            hook_timeout_scale: 1,
            build_deadline: Duration::from_secs(2 * 60 * 60),
            max_build_attempts: 2,
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            resident_mib: 64 * 1024,
            resident_microvms: 1000,
            concurrent_builds: 2,
            builder_mib: 2048,
        }
    }
}
