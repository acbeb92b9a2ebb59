//! Time as a dependency: one clock for timestamps and for timers.
//!
//! Every deadline of a microVM is a [`Timestamp`] that is stored and survives a restart. The clock is injected, so
//! that tests can advance it by hand.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

mod manual;
mod system;

pub use manual::ManualClock;
pub use system::{ClockReading, Continuation, SystemClock, go_on};

/// A point in time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time this many milliseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// The time this much later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(delay_ms))
    }

    /// The time elapsed since `earlier`. Zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let elapsed_ms = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(elapsed_ms).unwrap_or(0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A source of time, with timers.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Timestamp;

    /// Returns when `deadline` has come, or at once if it has passed. Cancel-safe.
    async fn sleep_until(&self, deadline: Timestamp);
}
