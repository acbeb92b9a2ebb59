//! The body of a `state` file, and the identity of a snapshot.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::extents::Extent;

/// Identity of a snapshot: BLAKE3 of its header. The header contains the hash of the body, and the body the hashes of
/// all files, so the id covers everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SnapshotId(pub [u8; 32]);

impl SnapshotId {
    /// Computes the identity of the snapshot with this header.
    pub(crate) fn of_header(header: &[u8]) -> Self {
        Self(*blake3::hash(header).as_bytes())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for SnapshotId {
    type Err = NotAnId;

    /// Parses the 64 hexadecimal digits that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(NotAnId);
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(pairs) {
            let digits = std::str::from_utf8(pair).map_err(|_| NotAnId)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAnId)?;
        }
        Ok(Self(id))
    }
}

/// The error for a text that is not the id of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot id has 64 hexadecimal digits")]
pub struct NotAnId;

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotId({self})")
    }
}

/// The body of a state file, which follows the header. Encoded by postcard.
///
/// The order of the fields is the format. Any change needs a new [`crate::FORMAT_VERSION`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Body {
    /// Ids of the ancestors, nearest first, down to the full snapshot.
    pub(crate) ancestors: Vec<SnapshotId>,
    /// The merged map of a layer; empty in a full snapshot.
    pub(crate) extents: Vec<Extent>,
    /// Names and sizes of the sealed files, `memory` first.
    pub(crate) files: Vec<FileRecord>,
    /// BLAKE3 of the `hashes` file.
    pub(crate) hashes_digest: [u8; 32],
    /// State of the machine, opaque to this crate.
    pub(crate) machine: Vec<u8>,
}

/// Name and size of a sealed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// Name in the directory.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) bytes: u64,
}

/// Name of the file that holds guest memory.
pub const MEMORY_FILE: &str = "memory";

/// Name of the file that holds the writable disk of this number, counted from 0 among the writable ones.
pub fn disk_file(index: usize) -> String {
    format!("disk-{index}.qcow2")
}

/// Name of the file with header and body.
pub(crate) const STATE_FILE: &str = "state";
/// Name of the file with the chunk hashes.
pub(crate) const HASHES_FILE: &str = "hashes";
