//! What was taken at a rate, and when it is paid for.

use std::time::{Duration, Instant};

/// A point of time on some clock.
pub trait Moment: Copy + Ord {
    /// The moment this much later.
    #[must_use]
    fn later(self, by: Duration) -> Self;

    /// The time since `earlier`; zero if that is later.
    fn since(self, earlier: Self) -> Duration;
}

impl Moment for Instant {
    fn later(self, by: Duration) -> Self {
        self + by
    }

    fn since(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// How much may be taken in a second, and how far ahead of that.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    per_second: f64,
    burst: Duration,
}

impl Rate {
    /// `per_second` units a second. What `burst` is worth may be taken at once after a quiet time.
    #[must_use]
    pub const fn new(per_second: f64, burst: Duration) -> Self {
        Self { per_second, burst }
    }

    /// The time that an amount is worth.
    #[must_use]
    pub fn cost(self, amount: f64) -> Duration {
        // A rate of zero would never be paid for. An hour is as good.
        Duration::try_from_secs_f64(amount / self.per_second).unwrap_or(Duration::from_secs(3600))
    }
}

/// What was taken so far.
#[derive(Debug, Clone, Copy)]
pub struct Meter<M = Instant> {
    /// When all of it is paid for. `None` if nothing was taken.
    paid_at: Option<M>,
}

impl<M> Default for Meter<M> {
    fn default() -> Self {
        Self { paid_at: None }
    }
}

impl<M: Moment> Meter<M> {
    /// How long it will be until something may be taken again: zero if it may now.
    #[must_use]
    pub fn debt(&self, rate: Rate, now: M) -> Duration {
        let ahead = self.paid_at.map_or(Duration::ZERO, |paid| paid.since(now));
        ahead.saturating_sub(rate.burst)
    }

    /// Takes an amount that can no longer be refused. Returns how long to wait before the next.
    pub fn take(&mut self, amount: f64, rate: Rate, now: M) -> Duration {
        let paid_at = self.paid_at.map_or(now, |paid| paid.max(now));
        self.paid_at = Some(paid_at.later(rate.cost(amount)));
        self.debt(rate, now)
    }

    /// Takes an amount if nothing is owed. What is owed by it delays the next.
    ///
    /// # Errors
    ///
    /// How long it will be until something may be taken again. Nothing was taken.
    pub fn try_take(&mut self, amount: f64, rate: Rate, now: M) -> Result<(), Duration> {
        let debt = self.debt(rate, now);
        if !debt.is_zero() {
            return Err(debt);
        }
        self.take(amount, rate, now);
        Ok(())
    }
}
