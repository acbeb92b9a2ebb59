//! Rate limits of requests, per account and operation: token buckets.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::id::AccountId;
use crate::policy::Quotas;
use crate::time::Timestamp;

/// A rate that is limited apart from the others (facts section 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Any request of an account to any service: the quota `requests_per_second`.
    Request,
    /// `RunMicrovm` and forks: the quota `runs_per_second`.
    Run,
    /// `ResumeMicrovm`.
    Resume,
    /// `SuspendMicrovm`.
    Suspend,
    /// `TerminateMicrovm`.
    Terminate,
    /// `GetMicrovm`.
    Get,
    /// `CreateMicrovmAuthToken`.
    AuthToken,
    /// `CreateMicrovmShellAuthToken`.
    ShellToken,
    /// Any request to services of the host from inside a microVM.
    FromGuest,
    /// Every other operation that only reads.
    OtherRead,
    /// Every other operation that changes something.
    OtherWrite,
}

/// Calls per second. As many may come at once. Rates that are quotas of the account are not in it.
#[derive(Debug, Clone)]
pub struct Rates {
    per_second: HashMap<Rate, u32>,
    are_quotas_enforced: bool,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            per_second: HashMap::from([
                (Rate::Resume, 5),
                (Rate::Suspend, 2),
                (Rate::Terminate, 10),
                (Rate::Get, 100),
                (Rate::AuthToken, 50),
                (Rate::ShellToken, 5),
                // AWS publishes no rate for these; they are high enough for scripts and low enough for one host.
                // Traffic of data, not of administration: more than a script needs, less than what would keep others
                // from the disks.
                (Rate::FromGuest, 500),
                (Rate::OtherRead, 100),
                (Rate::OtherWrite, 20),
            ]),
            are_quotas_enforced: true,
        }
    }
}

impl Rates {
    /// The same rates with one changed. Zero lifts the limit.
    #[must_use]
    pub fn with(mut self, rate: Rate, per_second: u32) -> Self {
        self.per_second.insert(rate, per_second);
        self
    }

    /// No limits at all, not even those of quotas.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            per_second: HashMap::new(),
            are_quotas_enforced: false,
        }
    }

    /// The limit of a rate for an account with these quotas.
    fn limit(&self, rate: Rate, quotas: &Quotas) -> Option<Limit> {
        let limit = match rate {
            Rate::Request if self.are_quotas_enforced => Limit {
                per_second: quotas.requests_per_second,
                burst: quotas.request_burst,
            },
            Rate::Run if self.are_quotas_enforced => Limit::second_of(quotas.runs_per_second),
            _ => Limit::second_of(self.per_second.get(&rate).copied().unwrap_or(0)),
        };
        (limit.per_second != 0).then_some(limit)
    }
}

/// A rate, and how many calls may come at once.
#[derive(Debug, Clone, Copy)]
struct Limit {
    per_second: u32,
    burst: u32,
}

impl Limit {
    /// A limit with a burst of one second's worth.
    const fn second_of(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second,
        }
    }
}

/// A token bucket.
///
/// Stored is the time at which the bucket will be full. Taking a token moves that time by one interval.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at_us: i64,
}

impl Bucket {
    const SECOND_US: i64 = 1_000_000;

    /// Takes `count` tokens if there is one. What is not there is owed.
    fn take(&mut self, count: u32, limit: Limit, now: Timestamp) -> Result<(), Duration> {
        let now_us = now.unix_ms().saturating_mul(1000);
        // Rounded up: a bucket never gives more than its rate.
        let interval_us = i64::from(limit.per_second);
        let interval_us = (Self::SECOND_US + interval_us - 1) / interval_us;
        let full_at_us = self.full_at_us.max(now_us);
        let debt_us = full_at_us + interval_us - now_us - interval_us * i64::from(limit.burst);
        if debt_us > 0 {
            return Err(Duration::from_micros(u64::try_from(debt_us).unwrap_or(0)));
        }
        self.full_at_us = full_at_us + interval_us * i64::from(count);
        Ok(())
    }
}

/// The buckets of all accounts.
#[derive(Debug)]
pub struct Throttle {
    rates: Rates,
    buckets: Mutex<HashMap<(AccountId, Rate), Bucket>>,
}

impl Throttle {
    /// Throttles with full buckets.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            buckets: Mutex::default(),
        }
    }

    /// Takes `count` tokens if there is one: a call is not cut, and what it is worth beyond the bucket keeps the next
    /// one waiting. Zero tokens ask whether a call would be accepted now.
    ///
    /// # Errors
    ///
    /// The time after which a call will be accepted.
    pub fn take(
        &self,
        account: AccountId,
        rate: Rate,
        count: u32,
        quotas: &Quotas,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let Some(limit) = self.rates.limit(rate, quotas) else {
            return Ok(());
        };
        // Only accounts with a valid key get here, so the number of buckets is that of accounts times rates.
        let mut buckets = self
            .buckets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let bucket = buckets.entry((account, rate)).or_insert(Bucket {
            full_at_us: i64::MIN,
        });
        bucket.take(count, limit, now)
    }
}

#[cfg(test)]
mod tests;
