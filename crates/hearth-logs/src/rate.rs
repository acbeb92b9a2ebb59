//! How many events each account may write a second.
//!
//! A batch is taken whole or not at all, and how large it is shows only when its request is read. So an account may write while it owes
//! nothing, and then owes the time that all events of the batch are worth.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What an account may write ahead of its rate after a quiet time.
const BURST: Duration = Duration::from_secs(2);

/// When the events that each account has written are paid for.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    paid_at: Mutex<HashMap<String, Instant>>,
}

impl Rates {
    /// How long the account has to wait until it may write again: zero if it may now.
    pub(crate) fn wait(&self, account: &str, now: Instant) -> Duration {
        let accounts = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_at = accounts.get(account).copied().unwrap_or(now);
        paid_at.saturating_duration_since(now + BURST)
    }

    /// Counts events that are written.
    pub(crate) fn charge(&self, account: &str, per_second: u32, events: usize, now: Instant) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        // A rate of zero would never be paid for. An event a second is as good.
        let cost = Duration::from_secs(1) / per_second.max(1) * events;
        let mut accounts = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        match accounts.get_mut(account) {
            Some(paid_at) => *paid_at = now.max(*paid_at) + cost,
            // Only accounts that have keys write: their number is the host's.
            None => {
                accounts.insert(account.to_owned(), now + cost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_owes_waits_and_others_do_not() {
        let (rates, now) = (Rates::default(), Instant::now());
        rates.charge("busy", 100, 200, now);
        assert_eq!(rates.wait("busy", now), Duration::ZERO);
        rates.charge("busy", 100, 300, now);
        assert_eq!(rates.wait("busy", now), Duration::from_secs(3));
        assert_eq!(rates.wait("other", now), Duration::ZERO);
        let later = now + Duration::from_secs(3);
        assert_eq!(rates.wait("busy", later), Duration::ZERO);
        // What was not written in a quiet time is not saved up beyond the burst.
        let much_later = now + Duration::from_secs(1000);
        rates.charge("busy", 100, 300, much_later);
        assert_eq!(rates.wait("busy", much_later), Duration::from_secs(1));
    }

    #[test]
    fn a_rate_of_zero_is_no_panic() {
        let (rates, now) = (Rates::default(), Instant::now());
        rates.charge("a", 0, 3, now);
        assert_eq!(rates.wait("a", now), Duration::from_secs(1));
    }
}
