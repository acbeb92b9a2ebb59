//! Named points at which a test ends this process at once, or holds it up like a slow disk.
//!
//! Only builds with debug assertions have the arguments `--crash-point NAME` and `--slow-point NAME=MS`. A crash runs
//! no clean-up code and leaves behind the same as a kill. In release builds [`reach`] is a no-op. The code is compiled
//! there too, so that both kinds of build accept the same code.

use std::sync::OnceLock;
use std::time::Duration;

use hearth_wire::crash_point::{CRASH_STATUS, CrashPoint};

static CRASH: OnceLock<CrashPoint> = OnceLock::new();

static SLOW: OnceLock<(CrashPoint, Duration)> = OnceLock::new();

/// Makes this process end when it reaches `point`. Only the first call has an effect.
pub fn crash_at(point: CrashPoint) {
    let _ = CRASH.set(point);
}

/// Delays every thread that reaches `point` by `time`. Only the first call has an effect.
pub fn wait_at(point: CrashPoint, time: Duration) {
    let _ = SLOW.set((point, time));
}

/// Parses `NAME=MS`.
pub fn parse_slow(text: &str) -> Option<(CrashPoint, Duration)> {
    let (name, time_ms) = text.split_once('=')?;
    Some((
        name.parse().ok()?,
        Duration::from_millis(time_ms.parse().ok()?),
    ))
}

/// Says that the process is at `point`: ends or delays it there if a test asked for that.
#[inline]
pub(crate) fn reach(point: CrashPoint) {
    if cfg!(debug_assertions) {
        stop_at(point);
    }
}

fn stop_at(point: CrashPoint) {
    if let Some((_, time)) = SLOW.get().filter(|(slow, _)| *slow == point) {
        std::thread::sleep(*time);
    }
    if CRASH.get() == Some(&point) {
        crate::say(format_args!("crash point {point}"));
        // SAFETY: ends the process without running anything of it, which is what a test of crashes wants.
        unsafe { libc::_exit(CRASH_STATUS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_point_is_a_name_and_milliseconds() {
        let parsed = parse_slow("seal.begun=1500");
        let expected = (CrashPoint::SealBegun, Duration::from_millis(1500));
        assert_eq!(parsed, Some(expected));
        for wrong in ["seal.begun", "seal.begun=", "seal=1", "=1"] {
            assert_eq!(parse_slow(wrong), None, "{wrong}");
        }
    }
}
