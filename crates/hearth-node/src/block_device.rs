//! Finds the block device below a file system, by the number that control groups use.

use std::fmt;
use std::fs;
use std::path::Path;

use rustix::fs::{major, minor, stat};

/// A whole block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockDevice {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// The error for a directory that is not on a single block device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is on a file system that has no block device of its own, as btrfs, ZFS, tmpfs and network file systems"
)]
pub struct NoBlockDevice(String);

impl BlockDevice {
    /// The device of a directory, or of its nearest existing ancestor. Control groups limit whole devices, so for a
    /// partition this is its disk.
    pub(crate) fn of(directory: &Path) -> Result<Self, NoBlockDevice> {
        let none = || NoBlockDevice(directory.display().to_string());
        let place = directory.ancestors().find(|place| place.exists());
        let device = stat(place.ok_or_else(none)?).map_err(|_| none())?.st_dev;
        let entry = format!("/sys/dev/block/{}:{}", major(device), minor(device));
        let mut entry = fs::canonicalize(entry).map_err(|_| none())?;
        if entry.join("partition").exists() {
            entry.pop();
        }
        let numbers = fs::read_to_string(entry.join("dev")).map_err(|_| none())?;
        Self::parse(numbers.trim()).ok_or_else(none)
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        let device = BlockDevice::parse("259:3").unwrap();
        assert_eq!(device.to_string(), "259:3");
        for bad in ["", "259", "a:b"] {
            assert_eq!(BlockDevice::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_in_memory_is_on_no_device() {
        assert!(BlockDevice::of(Path::new("/proc/self")).is_err());
    }
}
