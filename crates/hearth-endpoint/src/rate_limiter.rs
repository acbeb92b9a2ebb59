//! A rate limiter (GCRA): it stores the time at which everything taken so far is paid for.
//!
//! Pure: the caller passes the time and does the waiting.

use std::time::{Duration, Instant};

/// Limits to `rate` units per second, with `burst` ahead of it.
#[derive(Debug)]
pub struct RateLimiter {
    rate: f64,
    burst: Duration,
    /// When everything that was taken so far is paid for.
    paid_at: Instant,
}

impl RateLimiter {
    /// A limiter from which nothing was taken yet.
    #[must_use]
    pub fn new(rate: f64, burst: Duration, now: Instant) -> Self {
        Self {
            rate,
            burst,
            paid_at: now,
        }
    }

    /// Takes an amount that can no longer be refused. Returns how long to wait before the next.
    pub fn take(&mut self, amount: f64, now: Instant) -> Duration {
        self.paid_at = self.paid_at.max(now) + self.cost(amount);
        self.debt(now)
    }

    /// Takes an amount. Takes nothing and returns false if the debt is too large already.
    pub(crate) fn try_take(&mut self, amount: f64, now: Instant) -> bool {
        if !self.debt(now).is_zero() {
            return false;
        }
        self.take(amount, now);
        true
    }

    /// Takes an amount and returns how long to wait for it. Takes nothing if the wait would be longer than `limit`.
    ///
    /// # Errors
    ///
    /// How long it will be until the wait is as short as `limit`.
    pub(crate) fn take_within(
        &mut self,
        amount: f64,
        limit: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let wait = self.debt(now);
        if wait > limit {
            return Err(wait - limit);
        }
        self.take(amount, now);
        Ok(wait)
    }

    fn debt(&self, now: Instant) -> Duration {
        self.paid_at
            .saturating_duration_since(now)
            .saturating_sub(self.burst)
    }

    fn cost(&self, amount: f64) -> Duration {
        // A rate of zero would never be paid for. An hour is as good.
        Duration::try_from_secs_f64(amount / self.rate).unwrap_or(Duration::from_secs(3600))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut limiter = RateLimiter::new(100.0, Duration::from_secs(1), now);
        assert_eq!(limiter.take(100.0, now), Duration::ZERO);
        assert_eq!(limiter.take(50.0, now), Duration::from_millis(500));
        assert!(!limiter.try_take(1.0, now));
        assert!(limiter.try_take(1.0, now + Duration::from_millis(500)));
    }

    #[test]
    fn a_queue_is_as_long_as_its_wait() {
        let now = Instant::now();
        let mut limiter = RateLimiter::new(10.0, Duration::from_secs(1), now);
        let limit = Duration::from_secs(2);
        let mut waits = Vec::new();
        while let Ok(wait) = limiter.take_within(1.0, limit, now) {
            waits.push(wait);
        }
        assert_eq!(waits[..11], [Duration::ZERO; 11]);
        assert_eq!(waits[11], Duration::from_millis(100));
        assert_eq!((waits.len(), waits.last()), (31, Some(&limit)));
        let too_early = limiter.take_within(1.0, limit, now);
        assert_eq!(too_early, Err(Duration::from_millis(100)));
        let later = now + Duration::from_millis(100);
        assert_eq!(limiter.take_within(1.0, limit, later), Ok(limit));
    }

    #[test]
    fn a_rate_of_zero_is_no_panic() {
        let now = Instant::now();
        let mut limiter = RateLimiter::new(0.0, Duration::ZERO, now);
        assert_eq!(limiter.take(1.0, now), Duration::from_secs(3600));
    }

    proptest! {
        /// Whoever waits as told never gets more than rate x time + burst + the last piece.
        #[test]
        fn the_rate_is_never_exceeded(pieces in prop::collection::vec(1u32..100_000, 1..100)) {
            let start = Instant::now();
            let mut limiter = RateLimiter::new(1000.0, Duration::from_secs(2), start);
            let mut now = start;
            let mut sum = 0.0;
            for piece in pieces {
                let piece = f64::from(piece);
                let wait = limiter.take(piece, now);
                let allowed = 1000.0 * (now - start).as_secs_f64() + 2000.0 + piece;
                sum += piece;
                prop_assert!(sum <= allowed + 1.0);
                now += wait;
            }
        }
    }
}
