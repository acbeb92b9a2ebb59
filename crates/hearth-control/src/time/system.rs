//! The clock of the host.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};

use super::{Clock, Timestamp};

/// Wall time as it was at construction, advanced by the boot clock.
///
/// A host whose wall clock jumps (first NTP answer, an operator's mistake) must not end every suspended
/// microVM at once, so the wall is read only once. The boot clock also counts while the host sleeps.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    wall_at_start: Timestamp,
    boot_at_start: Duration,
}

impl SystemClock {
    /// Longest single wait. Timers of the runtime stand still while the host sleeps, so a long wait is
    /// cut into pieces, each of which looks at the boot clock again.
    const MAX_SLEEP: Duration = Duration::from_secs(10);

    /// A clock that agrees with the host's wall clock now.
    #[must_use]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            wall_at_start: Timestamp::from_unix_ms(0).after(since_epoch),
            boot_at_start: boot_time(),
        }
    }
}

fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall_at_start
            .after(boot_time().saturating_sub(self.boot_at_start))
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let remaining = deadline.since(self.now());
            if remaining.is_zero() {
                return;
            }
            tokio::time::sleep(remaining.min(Self::MAX_SLEEP)).await;
        }
    }
}
