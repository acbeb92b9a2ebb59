//! Reads the guest's clocks.

use rustix::time::ClockId;

/// Nanoseconds of a clock since its epoch; 0 if it is set to a time before the epoch.
pub(crate) fn clock_ns(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0)
}
