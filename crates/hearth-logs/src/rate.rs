//! How many events each account may write a second.
//!
//! A batch is taken whole or not at all, and how large it is shows only when its request is read. So an account may write while it owes
//! nothing, and then owes the time that all events of the batch are worth.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_rate::{Meter, Rate};

/// What an account may write ahead of its rate after a quiet time.
const BURST: Duration = Duration::from_secs(2);

/// What each account has written.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Meter>>);

impl Rates {
    /// How long the account has to wait until it may write again: zero if it may now.
    pub(crate) fn wait(&self, account: &str, per_second: u32, now: Instant) -> Duration {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = accounts.get(account).copied().unwrap_or_default();
        meter.debt(rate(per_second), now)
    }

    /// Counts events that are written.
    pub(crate) fn charge(&self, account: &str, per_second: u32, events: usize, now: Instant) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only accounts that have keys write: their number is the host's.
        let meter = accounts.entry(account.to_owned()).or_default();
        meter.take(events as f64, rate(per_second), now);
    }
}

fn rate(per_second: u32) -> Rate {
    // A rate of zero would never be paid for. An event a second is as good.
    Rate::new(per_second.max(1).into(), BURST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_owes_waits_and_others_do_not() {
        let (rates, now) = (Rates::default(), Instant::now());
        rates.charge("busy", 100, 200, now);
        assert_eq!(rates.wait("busy", 100, now), Duration::ZERO);
        rates.charge("busy", 100, 300, now);
        assert_eq!(rates.wait("busy", 100, now), Duration::from_secs(3));
        assert_eq!(rates.wait("other", 100, now), Duration::ZERO);
        let later = now + Duration::from_secs(3);
        assert_eq!(rates.wait("busy", 100, later), Duration::ZERO);
        // What was not written in a quiet time is not saved up beyond the burst.
        let much_later = now + Duration::from_secs(1000);
        rates.charge("busy", 100, 300, much_later);
        assert_eq!(rates.wait("busy", 100, much_later), Duration::from_secs(1));
    }

    #[test]
    fn a_rate_of_zero_is_no_panic() {
        let (rates, now) = (Rates::default(), Instant::now());
        rates.charge("a", 0, 3, now);
        assert_eq!(rates.wait("a", 0, now), Duration::from_secs(1));
    }
}
