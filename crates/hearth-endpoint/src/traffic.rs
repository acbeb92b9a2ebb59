//! The bytes between one microVM and its clients: reported to the service, and limited to a rate.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hearth_rate::RateLimiter;

use crate::backend::{Backend, Microvm};
use crate::id::MicrovmId;
use crate::lock::lock;

/// How far ahead of the rate bytes may run: enough to hide the timer's resolution, too little to notice.
const BYTES_BURST: Duration = Duration::from_millis(250);

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the application.
    Up,
    /// To the client.
    Down,
}

/// The traffic of one microVM.
pub(crate) struct Traffic {
    microvm: MicrovmId,
    backend: Arc<dyn Backend>,
    up: Option<Mutex<RateLimiter>>,
    down: Option<Mutex<RateLimiter>>,
}

impl Traffic {
    pub(crate) fn new(backend: Arc<dyn Backend>, microvm: &Microvm) -> Self {
        let limiter = || {
            let rate = microvm.limits.bytes_per_second?;
            Some(Mutex::new(RateLimiter::new(rate as f64, BYTES_BURST)))
        };
        Self {
            microvm: microvm.id,
            backend,
            up: limiter(),
            down: limiter(),
        }
    }

    /// Counts bytes that passed. Returns how long to wait before more may pass.
    pub(crate) fn pass(&self, direction: Direction, bytes: usize) -> Duration {
        self.backend.touched(self.microvm, bytes as u64);
        let limiter = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        limiter.as_ref().map_or(Duration::ZERO, |limiter| {
            lock(limiter).take(bytes as f64, Instant::now())
        })
    }
}
