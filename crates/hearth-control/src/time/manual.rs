//! A clock that a test advances by hand.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Clock, Timestamp};

/// A clock for tests and simulations: time passes only in [`ManualClock::advance`].
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(now),
        }
    }

    /// Advances the clock by `step`, and wakes all waiters whose deadline has come.
    pub fn advance(&self, step: Duration) {
        self.now.send_modify(|now| *now = now.after(step));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        // An error would mean that the sender is gone, but `self` holds it.
        let _ = self.now.subscribe().wait_for(|now| *now >= deadline).await;
    }
}
