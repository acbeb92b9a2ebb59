//! Named points at which a test ends this process at once, or holds it up like a slow disk.
//!
//! Only builds with debug assertions have them: `--crash-point NAME` and `--slow-point NAME=MS`. A crash runs nothing
//! of the process any more and leaves behind what a kill would leave. In release builds [`reach`] does nothing.
//! All of it is compiled there too, so that what one build accepts the other does.

use std::sync::OnceLock;
use std::time::Duration;

use hearth_wire::crash_point::{CRASH_STATUS, CrashPoint};

static CRASH: OnceLock<CrashPoint> = OnceLock::new();

static SLOW: OnceLock<(CrashPoint, Duration)> = OnceLock::new();

/// Ends this process when it reaches `point`. The first call decides.
pub fn crash_at(point: CrashPoint) {
    let _ = CRASH.set(point);
}

/// Holds up the thread that reaches `point`, every time. The first call decides.
pub fn wait_at(point: CrashPoint, time: Duration) {
    let _ = SLOW.set((point, time));
}

/// Reads `NAME=MS`.
pub fn parse_slow(text: &str) -> Option<(CrashPoint, Duration)> {
    let (name, time_ms) = text.split_once('=')?;
    Some((
        name.parse().ok()?,
        Duration::from_millis(time_ms.parse().ok()?),
    ))
}

/// The process is at `point`.
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
