//! A limit with a rate of its own.

use std::time::{Duration, Instant};

use crate::meter::{Meter, Moment, Rate};

/// Limits to a rate, with a burst ahead of it.
#[derive(Debug)]
pub struct RateLimiter<M = Instant> {
    rate: Rate,
    meter: Meter<M>,
}

impl<M: Moment> RateLimiter<M> {
    /// A limiter from which nothing was taken yet: `per_second` units a second, and what `burst` is worth at once.
    #[must_use]
    pub fn new(per_second: f64, burst: Duration) -> Self {
        Self {
            rate: Rate::new(per_second, burst),
            meter: Meter::default(),
        }
    }

    /// Takes an amount that can no longer be refused. Returns how long to wait before the next.
    pub fn take(&mut self, amount: f64, now: M) -> Duration {
        self.meter.take(amount, self.rate, now)
    }

    /// Takes an amount. Takes nothing and returns false if the debt is too large already.
    pub fn try_take(&mut self, amount: f64, now: M) -> bool {
        self.meter.try_take(amount, self.rate, now).is_ok()
    }

    /// Takes an amount and returns how long to wait for it. Takes nothing if the wait would be longer than `limit`.
    ///
    /// # Errors
    ///
    /// How long it will be until the wait is as short as `limit`.
    pub fn take_within(
        &mut self,
        amount: f64,
        limit: Duration,
        now: M,
    ) -> Result<Duration, Duration> {
        let wait = self.meter.debt(self.rate, now);
        if wait > limit {
            return Err(wait - limit);
        }
        self.take(amount, now);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut limiter = RateLimiter::new(100.0, Duration::from_secs(1));
        assert_eq!(limiter.take(100.0, now), Duration::ZERO);
        assert_eq!(limiter.take(50.0, now), Duration::from_millis(500));
        assert!(!limiter.try_take(1.0, now));
        assert!(limiter.try_take(1.0, now + Duration::from_millis(500)));
    }

    #[test]
    fn a_queue_is_as_long_as_its_wait() {
        let now = Instant::now();
        let mut limiter = RateLimiter::new(10.0, Duration::from_secs(1));
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
        let mut limiter = RateLimiter::new(0.0, Duration::ZERO);
        assert_eq!(limiter.take(1.0, now), Duration::from_secs(3600));
    }

    proptest! {
        /// Whoever waits as told never gets more than rate x time + burst + the last piece.
        #[test]
        fn the_rate_is_never_exceeded(pieces in prop::collection::vec(1u32..100_000, 1..100)) {
            let start = Instant::now();
            let mut limiter = RateLimiter::new(1000.0, Duration::from_secs(2));
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
