//! Rates of calls, per account and operation: token buckets.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::id::AccountId;
use crate::time::Timestamp;

/// Operations whose rate is limited apart from others (facts section 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// `RunMicrovm`.
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

/// Calls a second; as many may come at once.
#[derive(Debug, Clone)]
pub struct Rates(HashMap<Rate, u32>);

impl Default for Rates {
    fn default() -> Self {
        Self(HashMap::from([
            (Rate::Run, 5),
            (Rate::Resume, 5),
            (Rate::Suspend, 2),
            (Rate::Terminate, 10),
            (Rate::Get, 100),
            (Rate::AuthToken, 50),
            (Rate::ShellToken, 5),
            // AWS publishes no rate for these; they are high enough for scripts and low enough for one host.
            // Data and not administration: more than a script, less than what keeps others from the disks.
            (Rate::FromGuest, 500),
            (Rate::OtherRead, 100),
            (Rate::OtherWrite, 20),
        ]))
    }
}

impl Rates {
    /// The same rates with one of them changed; zero lifts the limit.
    #[must_use]
    pub fn with(mut self, rate: Rate, per_second: u32) -> Self {
        self.0.insert(rate, per_second);
        self
    }

    /// No limits at all.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(HashMap::new())
    }

    fn per_second(&self, rate: Rate) -> u32 {
        self.0.get(&rate).copied().unwrap_or(0)
    }
}

/// A token bucket whose capacity is one second of its rate.
///
/// It keeps the moment at which it would be full: taking a token moves that moment on by one interval.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at_us: i64,
}

impl Bucket {
    const SECOND_US: i64 = 1_000_000;

    fn take(&mut self, per_second: u32, now: Timestamp) -> Result<(), Duration> {
        let now_us = now.unix_ms().saturating_mul(1000);
        let interval_us = Self::SECOND_US / i64::from(per_second);
        let full_at_us = self.full_at_us.max(now_us) + interval_us;
        // Integer division may leave up to a microsecond per token unused: a bucket never gives more than its rate.
        let debt_us = full_at_us - now_us - Self::SECOND_US;
        if debt_us > 0 {
            return Err(Duration::from_micros(u64::try_from(debt_us).unwrap_or(0)));
        }
        self.full_at_us = full_at_us;
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
    /// Full buckets.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            buckets: Mutex::default(),
        }
    }

    /// Takes one call.
    ///
    /// # Errors
    ///
    /// After which time one more call will be taken.
    pub fn take(&self, account: AccountId, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let per_second = self.rates.per_second(rate);
        if per_second == 0 {
            return Ok(());
        }
        // Only accounts with a valid key get here, so there are as many buckets as accounts and rates.
        let mut buckets = self
            .buckets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let bucket = buckets.entry((account, rate)).or_insert(Bucket {
            full_at_us: i64::MIN,
        });
        bucket.take(per_second, now)
    }
}

#[cfg(test)]
mod tests;
