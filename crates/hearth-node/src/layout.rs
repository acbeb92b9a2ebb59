//! The paths of a node's files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hearth_snapshot::SnapshotId;

/// Size of the serial log in bytes, after which it starts again from its beginning.
pub(crate) const SERIAL_LOG_BYTES: u64 = 1 << 20;

/// Name of the directory for everything that was set aside.
pub(crate) const DAMAGED: &str = "damaged";

/// Name of a microVM on its node: 1-64 of `a-z A-Z 0-9 - _`, so that it is a file name and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineName(String);

/// The error for a text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has a wrong length or wrong characters.
    #[error(
        "{0:?} is not a name: use 1 to 64 of a-z, A-Z, 0-9, - and _, and begin with a letter or digit"
    )]
    Form(String),
}

impl FromStr for MachineName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if text.len() > 64 || !begins_well || !text.chars().all(is_plain) {
            return Err(NameError::Form(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The paths of a data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    /// The layout below `data`.
    pub fn new(data: PathBuf) -> Self {
        Self { data }
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Directory of all microVMs.
    pub fn machines(&self) -> PathBuf {
        self.data.join("machines")
    }

    /// Directory of all snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.data.join("snapshots")
    }

    /// Directory of one microVM.
    pub fn machine(&self, name: &MachineName) -> PathBuf {
        self.machines().join(&name.0)
    }

    /// Directory of one snapshot.
    pub fn snapshot(&self, id: SnapshotId) -> PathBuf {
        self.snapshots().join(id.to_string())
    }

    /// The directory in which the VMM of this microVM may write, the only one.
    pub(crate) fn own(&self, name: &MachineName) -> PathBuf {
        self.machine(name).join("vmm")
    }

    /// The directory into which the VMM of this microVM writes a snapshot.
    pub(crate) fn outgoing(&self, name: &MachineName) -> PathBuf {
        self.own(name).join("snapshot")
    }

    /// The directory in which the node keeps a snapshot of this microVM until its record is written.
    pub(crate) fn incoming(&self, name: &MachineName) -> PathBuf {
        self.machine(name).join("incoming")
    }

    /// Directory of everything that was set aside.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.data.join(DAMAGED)
    }

    /// An empty directory at which VMMs mount their roots, each in a mount namespace of its own.
    pub(crate) fn empty(&self) -> PathBuf {
        self.data.join("empty")
    }
}

/// Path of the overlay of the disk with that index, after `generation` snapshots, in the VMM's own directory.
pub(crate) fn overlay_path(own: &Path, index: usize, generation: u32) -> PathBuf {
    own.join(format!("disk-{index}.{generation}.qcow2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names_and_nothing_else() {
        for good in ["a", "vm-1", "A_b", &"x".repeat(64)] {
            assert!(good.parse::<MachineName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "-a",
            "_a",
            "a b",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<MachineName>().is_err(), "{bad}");
        }
    }
}
