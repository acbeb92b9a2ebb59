//! Names of the points at which a test kills or stalls a VMM: arguments of `hearth-vmm` in debug builds.

use std::fmt;
use std::str::FromStr;

/// A point in the life of a VMM process that a test can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// A restore has mapped the snapshot's memory.
    RestoreMapped,
    /// A restore is complete, before its reply.
    RestoreRunning,
    /// The instance is paused for a snapshot.
    SealBegun,
    /// Its memory is written.
    SealMemoryWritten,
    /// Its writable disks are sealed.
    SealDisksSealed,
    /// Its writable disks continue on their next overlays. A suspend does not reach this point.
    SealDisksStacked,
    /// The snapshot is durable and in its directory, before the reply.
    SealDurable,
    /// The reply to a suspend is sent, before the process ends.
    SuspendReplied,
}

/// All points, in the order in which a microVM's life passes them, with their names.
pub const CRASH_POINTS: [(CrashPoint, &str); 8] = [
    (CrashPoint::RestoreMapped, "restore.mapped"),
    (CrashPoint::RestoreRunning, "restore.running"),
    (CrashPoint::SealBegun, "seal.begun"),
    (CrashPoint::SealMemoryWritten, "seal.memory-written"),
    (CrashPoint::SealDisksSealed, "seal.disks-sealed"),
    (CrashPoint::SealDisksStacked, "seal.disks-stacked"),
    (CrashPoint::SealDurable, "seal.durable"),
    (CrashPoint::SuspendReplied, "suspend.replied"),
];

/// Exit status of a VMM that a test ended at a point: what a shell reports for a process killed by SIGKILL.
pub const CRASH_STATUS: i32 = 137;

/// No crash point has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no crash point {0:?}")]
pub struct UnknownCrashPoint(String);

impl FromStr for CrashPoint {
    type Err = UnknownCrashPoint;

    fn from_str(text: &str) -> Result<Self, UnknownCrashPoint> {
        let mut points = CRASH_POINTS.iter();
        points
            .find(|(_, name)| *name == text)
            .map(|(point, _)| *point)
            .ok_or_else(|| UnknownCrashPoint(text.to_owned()))
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = CRASH_POINTS.iter().find(|(point, _)| point == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_found_by_its_name() {
        for (point, name) in CRASH_POINTS {
            assert_eq!(name.parse(), Ok(point));
            assert_eq!(point.to_string(), name);
        }
        assert!("seal".parse::<CrashPoint>().is_err());
    }
}
