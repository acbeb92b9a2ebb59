//! The clock of the host.
//!
//! Deadlines are stored and compared with this clock across restarts, so it must continue where it was: if the host's
//! wall clock jumps by an hour, no microVM has slept an hour.
//!
//! ```text
//!  first start             wall time
//!  start, same boot        what it showed, and what the boot clock counted since; wall time if that is about the same
//!  start, another boot     wall time: how long the host was off, nobody else knows; but never before what it showed
//!  between                 as it was at the start, and what the boot clock counted since
//! ```
//!
//! The boot clock (`CLOCK_BOOTTIME`) also counts while the host sleeps.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{Clock, Timestamp};

/// A difference from wall time up to this is corrected at a start: what an undisciplined clock gains or loses in
/// weeks.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// What a clock showed at a moment of a boot of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// The boot, by the kernel's boot id.
    pub boot_id: String,
    /// Milliseconds of the boot clock.
    pub boot_ms: i64,
    /// The time that the clock showed, in milliseconds since 1970.
    pub shown_ms: i64,
}

/// How a clock continues at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continuation {
    /// The time that the clock shows, in milliseconds since 1970.
    pub shown_ms: i64,
    /// How far wall time is ahead of that, in milliseconds, if the clock does not follow it.
    pub ignored_jump_ms: Option<i64>,
}

/// How a clock that showed `before` continues on a host whose boot and wall clock show `host`.
#[must_use]
pub fn go_on(before: Option<&ClockReading>, host: &ClockReading) -> Continuation {
    let wall_ms = host.shown_ms;
    let follow = |shown_ms| Continuation {
        shown_ms,
        ignored_jump_ms: None,
    };
    let Some(before) = before else {
        return follow(wall_ms);
    };
    let keep = |shown_ms| Continuation {
        shown_ms,
        ignored_jump_ms: Some(wall_ms.saturating_sub(shown_ms)),
    };
    if before.boot_id != host.boot_id {
        return match wall_ms >= before.shown_ms {
            true => follow(wall_ms),
            false => keep(before.shown_ms),
        };
    }
    let passed_ms = host.boot_ms.saturating_sub(before.boot_ms).max(0);
    let expected_ms = before.shown_ms.saturating_add(passed_ms);
    match wall_ms.abs_diff(expected_ms) <= MAX_DRIFT.as_millis() as u64 {
        true => follow(wall_ms.max(before.shown_ms)),
        false => keep(expected_ms),
    }
}

/// Wall time at the start, advanced by the boot clock.
///
/// If a host's wall clock jumps (first NTP answer, an operator's mistake), suspended microVMs must not all end at
/// once. So the wall clock is read only at the start.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    shown_at_start: Timestamp,
    boot_at_start: Duration,
}

impl SystemClock {
    /// Longest single wait. Timers of the runtime stand still while the host sleeps, so a long wait is cut into
    /// pieces, and the boot clock is read again after each.
    const MAX_SLEEP: Duration = Duration::from_secs(10);

    /// A clock that starts at the host's present wall time.
    #[must_use]
    pub fn start() -> Self {
        Self::resume(None).0
    }

    /// A clock that continues an earlier one. Also returns how far wall time is ahead in milliseconds, if the clock
    /// does not follow it.
    #[must_use]
    pub fn resume(before: Option<&ClockReading>) -> (Self, Option<i64>) {
        let boot = boot_time();
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let host = ClockReading {
            boot_id: boot_id(),
            boot_ms: milliseconds(boot),
            shown_ms: milliseconds(since_epoch),
        };
        let continuation = go_on(before, &host);
        let clock = Self {
            shown_at_start: Timestamp::from_unix_ms(continuation.shown_ms),
            boot_at_start: boot,
        };
        (clock, continuation.ignored_jump_ms)
    }

    /// What the clock shows now, for [`SystemClock::resume`] of a later process.
    #[must_use]
    pub fn read(&self) -> ClockReading {
        let boot = boot_time();
        ClockReading {
            boot_id: boot_id(),
            boot_ms: milliseconds(boot),
            shown_ms: self.at(boot).unix_ms(),
        }
    }

    fn at(&self, boot: Duration) -> Timestamp {
        self.shown_at_start
            .after(boot.saturating_sub(self.boot_at_start))
    }
}

/// Empty if the kernel does not tell: then every boot is taken for the same one.
fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.at(boot_time())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn reading(boot_id: &str, boot_ms: i64, shown_ms: i64) -> ClockReading {
        ClockReading {
            boot_id: boot_id.to_owned(),
            boot_ms,
            shown_ms,
        }
    }

    #[test]
    fn the_first_start_and_a_host_that_was_off_follow_the_wall() {
        let host = reading("b", 10, 50 * HOUR_MS);
        assert_eq!(go_on(None, &host).shown_ms, 50 * HOUR_MS);
        let before = reading("a", 99, 20 * HOUR_MS);
        let followed = go_on(Some(&before), &host);
        assert_eq!(followed.shown_ms, 50 * HOUR_MS);
        assert_eq!(followed.ignored_jump_ms, None);
    }

    #[test]
    fn a_host_that_boots_with_an_old_clock_does_not_go_back() {
        let before = reading("a", 99, 20 * HOUR_MS);
        let kept = go_on(Some(&before), &reading("b", 10, 0));
        assert_eq!(kept.shown_ms, 20 * HOUR_MS);
        assert_eq!(kept.ignored_jump_ms, Some(-20 * HOUR_MS));
    }

    #[test]
    fn a_clock_that_is_read_goes_on() {
        let clock = SystemClock::start();
        let (later, ignored) = SystemClock::resume(Some(&clock.read()));
        assert!(ignored.is_none());
        assert!(later.now() >= clock.now() || clock.now().since(later.now()) < MAX_DRIFT);
    }

    proptest! {
        /// In one boot, what passes between two starts is what passed, whatever the wall says.
        #[test]
        fn no_jump_of_the_wall_makes_time_pass(
            passed_ms in 0..1_000_000_000_i64,
            jump_ms in -100_000_000_000..100_000_000_000_i64,
        ) {
            let before = reading("a", 5, 200_000_000_000);
            let wall_ms = before.shown_ms + passed_ms + jump_ms;
            let after = go_on(Some(&before), &reading("a", 5 + passed_ms, wall_ms));
            let error_ms = (after.shown_ms - before.shown_ms).abs_diff(passed_ms);
            prop_assert!(error_ms <= MAX_DRIFT.as_millis() as u64);
            prop_assert!(after.shown_ms >= before.shown_ms);
            prop_assert_eq!(after.ignored_jump_ms.is_some(), jump_ms.abs() > 60_000);
        }
    }
}
