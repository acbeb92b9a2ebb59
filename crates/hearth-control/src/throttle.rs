//! Rate limits of requests, per account and operation.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use hearth_rate::{Meter, Moment};

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

impl From<Limit> for hearth_rate::Rate {
    fn from(limit: Limit) -> Self {
        let per_second = f64::from(limit.per_second);
        // The call itself is the rest of the burst.
        let ahead = f64::from(limit.burst.saturating_sub(1)) / per_second;
        let ahead = Duration::try_from_secs_f64(ahead).unwrap_or(Duration::MAX);
        Self::new(per_second, ahead)
    }
}

/// A time in microseconds since 1970: in milliseconds, a rate of more than a thousand would be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Micros(i64);

impl From<Timestamp> for Micros {
    fn from(time: Timestamp) -> Self {
        Self(time.unix_ms().saturating_mul(1000))
    }
}

impl Moment for Micros {
    fn later(self, by: Duration) -> Self {
        // Rounded up: nobody gets more than the rate.
        let by_us = by.as_nanos().div_ceil(1000);
        Self(
            self.0
                .saturating_add(i64::try_from(by_us).unwrap_or(i64::MAX)),
        )
    }

    fn since(self, earlier: Self) -> Duration {
        let since_us = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(since_us).unwrap_or(0))
    }
}

/// What all accounts have taken.
#[derive(Debug)]
pub struct Throttle {
    rates: Rates,
    meters: Mutex<HashMap<(AccountId, Rate), Meter<Micros>>>,
}

impl Throttle {
    /// A throttle from which nothing was taken yet.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            meters: Mutex::default(),
        }
    }

    /// Takes `count` calls if one may be taken: what a call is worth beyond the burst keeps the next one waiting. Zero asks
    /// whether a call would be accepted now.
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
        // Only accounts with a valid key get here, so the number of meters is that of accounts times rates.
        let mut meters = self
            .meters
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let meter = meters.entry((account, rate)).or_default();
        meter.try_take(f64::from(count), limit.into(), now.into())
    }
}

#[cfg(test)]
mod tests;
