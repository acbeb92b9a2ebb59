//! Rate limits: token buckets, and the timer that wakes a device whose bucket is empty.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::timerfd::TimerFd;

use super::poller::Registrar;

/// Limits of one direction of one device. `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests (or frames).
    pub operations: Option<BucketLimit>,
    /// Bytes.
    pub bytes: Option<BucketLimit>,
}

/// One token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketLimit {
    /// Tokens that come back in a second.
    pub per_second: u64,
    /// Tokens that can be saved up.
    pub burst: u64,
}

/// Longest wait that is ever asked for. A limit of one operation in an hour is a
/// misconfiguration that should look slow, not dead.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

const NANOS: u128 = 1_000_000_000;

/// A bucket that may go into debt: a request is admitted whenever there is any token, whatever its
/// cost, and the next one waits until the debt is paid. So a request larger than the burst passes,
/// and the long-run rate holds all the same.
#[derive(Debug, Clone)]
struct Bucket {
    limit: BucketLimit,
    /// Tokens in billionths: exact under any division of time.
    nanotokens: i128,
    filled: Instant,
}

impl Bucket {
    fn new(limit: BucketLimit, now: Instant) -> Self {
        // A bucket that holds nothing would never admit anything.
        let limit = BucketLimit {
            per_second: limit.per_second.max(1),
            burst: limit.burst.max(1),
        };
        Self {
            limit,
            nanotokens: Self::full(limit),
            filled: now,
        }
    }

    fn full(limit: BucketLimit) -> i128 {
        i128::from(limit.burst) * NANOS as i128
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_nanos();
        // A century at the highest rate stays below 2^127.
        let elapsed = elapsed.min(100 * 365 * 86_400 * NANOS);
        let gained = elapsed as i128 * i128::from(self.limit.per_second);
        self.nanotokens = (self.nanotokens + gained).min(Self::full(self.limit));
        self.filled = self.filled.max(now);
    }

    /// Time until there is a token.
    fn wait(&self) -> Option<Duration> {
        if self.nanotokens > 0 {
            return None;
        }
        let missing = (1 - self.nanotokens) as u128;
        let nanos = missing.div_ceil(u128::from(self.limit.per_second));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(nanos).min(LONGEST_WAIT))
    }

    fn take(&mut self, tokens: u64) {
        self.nanotokens -= i128::from(tokens) * NANOS as i128;
    }
}

/// The limiter of one direction.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    operations: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl RateLimiter {
    /// Creates a limiter whose buckets are full.
    #[must_use]
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        let bucket = |limit| Bucket::new(limit, now);
        Self {
            operations: limit.operations.map(bucket),
            bytes: limit.bytes.map(bucket),
        }
    }

    /// Whether the limiter never refuses a request.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.operations.is_none() && self.bytes.is_none()
    }

    /// How long the next request has to wait at `now`; `None` if it may go.
    pub fn delay(&mut self, now: Instant) -> Option<Duration> {
        let mut longest = None;
        for bucket in self.operations.iter_mut().chain(&mut self.bytes) {
            bucket.refill(now);
            longest = longest.max(bucket.wait());
        }
        longest
    }

    /// Charges a request that was let through.
    pub fn charge(&mut self, bytes: u64) {
        self.charge_more(1, bytes);
    }

    /// Charges additional cost of a request that was charged before.
    pub fn charge_more(&mut self, operations: u64, bytes: u64) {
        if let Some(bucket) = &mut self.operations {
            bucket.take(operations);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes);
        }
    }
}

/// A timer in the event loop that wakes a throttled device. It takes a descriptor only when it is first armed.
#[derive(Debug)]
pub struct RetryTimer {
    token: u32,
    timer: Option<TimerFd>,
}

impl RetryTimer {
    /// Creates a timer without a descriptor. Its events carry `token`.
    #[must_use]
    pub fn new(token: u32) -> Self {
        Self { token, timer: None }
    }

    /// Makes the timer fire once after `delay`.
    pub fn arm(&mut self, registrar: &Registrar, delay: Duration) -> io::Result<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            empty => {
                let timer = TimerFd::new()?;
                registrar.add(timer.as_raw_fd(), self.token, EventSet::IN)?;
                empty.insert(timer)
            }
        };
        // Zero would disarm it.
        Ok(timer.reset(delay.max(Duration::from_nanos(1)), None)?)
    }

    /// Clears the expiry. Does not block, as an event may be spurious.
    pub fn acknowledge(&mut self) {
        // Re-arming resets the expiry count; an idle timer is disarmed by it.
        if let Some(timer) = &mut self.timer {
            let _ = timer.clear();
        }
    }

    /// Removes the timer from the event loop.
    pub fn disarm(&mut self, registrar: &Registrar) {
        if let Some(timer) = self.timer.take() {
            registrar.remove(timer.as_raw_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the sizes and pauses, no more than burst + rate * time + one request passes.
        #[test]
        fn long_run_rate_holds(
            per_second in 1u64..1_000_000,
            burst in 1u64..1_000_000,
            requests in prop::collection::vec((0u64..100_000, 0u64..2_000_000_000), 1..200),
        ) {
            let start = Instant::now();
            let limit = BucketLimit { per_second, burst };
            let mut limiter =
                RateLimiter::new(RateLimit { operations: None, bytes: Some(limit) }, start);
            let mut now = start;
            let mut passed = 0u64;
            let mut largest = 0u64;
            for (bytes, pause_ns) in requests {
                now += Duration::from_nanos(pause_ns);
                if limiter.delay(now).is_none() {
                    limiter.charge(bytes);
                    passed += bytes;
                    largest = largest.max(bytes);
                }
            }
            let seconds = (now - start).as_secs_f64();
            prop_assert!(passed as f64 <= burst as f64 + per_second as f64 * seconds + largest as f64 + 1.0);
        }

        /// Waiting for as long as was asked is enough, unless the wait was cut at its maximum.
        #[test]
        fn the_delay_suffices(per_second in 1u64..1_000_000, cost in 1u64..1_000_000) {
            let start = Instant::now();
            let limit = BucketLimit { per_second, burst: 1 };
            let mut limiter =
                RateLimiter::new(RateLimit { operations: None, bytes: Some(limit) }, start);
            prop_assert!(limiter.delay(start).is_none());
            limiter.charge(cost);
            if let Some(delay) = limiter.delay(start)
                && delay < LONGEST_WAIT
            {
                prop_assert!(limiter.delay(start + delay).is_none());
            }
        }
    }

    #[test]
    fn time_going_backwards_gives_nothing() {
        let start = Instant::now();
        let limit = BucketLimit {
            per_second: 10,
            burst: 1,
        };
        let mut limiter = RateLimiter::new(
            RateLimit {
                operations: Some(limit),
                bytes: None,
            },
            start + Duration::from_secs(5),
        );
        limiter.charge(0);
        assert!(limiter.delay(start).is_some());
        assert!(limiter.delay(start).is_some());
    }
}
