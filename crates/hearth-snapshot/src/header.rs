//! The fixed header of a `state` file.
//!
//! | bytes   | what |
//! |---------|------|
//! | 0..8    | magic `HRTHSNAP` |
//! | 8..10   | format version, `u16` little-endian like every number here |
//! | 10..12  | architecture: 1 = x86_64 |
//! | 12..16  | kind: 0 = full, 1 = layer |
//! | 16..24  | bytes of the body that follows |
//! | 24..32  | bytes of RAM |
//! | 32..64  | BLAKE3 of the body |
//! | 64..96  | id of the parent; zeros in a full snapshot |
//! | 96..104 | bytes of the `memory` file |
//! | 104..112| reserved, zeros |
//! | 112..128| first half of the BLAKE3 of bytes 0..112 |
//!
//! The version is checked before any checksum, so that a snapshot of another release is reported as such and not as
//! corrupt.

use crate::body::SnapshotId;

/// Version of the directory format. Any change to header, body or file layout raises it.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 128;

/// Largest body that is read: state of 16 vCPUs, the devices and a map of as many runs as
/// [`crate::Limits::FORMAT`] allows stay far below it.
pub(crate) const MAX_BODY_BYTES: u64 = 16 << 20;

const MAGIC: [u8; 8] = *b"HRTHSNAP";
const ARCH_X86_64: u16 = 1;
const CHECKED_BYTES: usize = 112;

/// The decoded header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Parent of a layer; `None` for a full snapshot.
    pub(crate) parent: Option<SnapshotId>,
    /// Bytes of the body.
    pub(crate) body_bytes: u64,
    /// Bytes of guest RAM.
    pub(crate) ram_bytes: u64,
    /// Bytes of the memory file.
    pub(crate) memory_bytes: u64,
    /// BLAKE3 of the body.
    pub(crate) body_hash: [u8; 32],
}

/// Why a header is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file has fewer bytes than a header.
    #[error("the state file is too short to hold a header ({0} bytes)")]
    Short(usize),
    /// The file does not begin with the magic of a snapshot.
    #[error("this is not a snapshot (wrong magic)")]
    Magic,
    /// The snapshot has another format version.
    #[error("the snapshot has format version {found}; this Hearth reads version {FORMAT_VERSION}")]
    Version {
        /// Version in the header.
        found: u16,
    },
    /// The snapshot was made on another CPU architecture.
    #[error("the snapshot was made on another CPU architecture (code {found})")]
    Architecture {
        /// Code in the header.
        found: u16,
    },
    /// The header's own checksum is wrong.
    #[error("the header of the snapshot is corrupt (checksum)")]
    Checksum,
    /// The checksum is right but a value is out of range.
    #[error("the header of the snapshot makes no sense: {0}")]
    Value(&'static str),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&ARCH_X86_64.to_le_bytes());
        out[12..16].copy_from_slice(&u32::from(self.parent.is_some()).to_le_bytes());
        out[16..24].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[24..32].copy_from_slice(&self.ram_bytes.to_le_bytes());
        out[32..64].copy_from_slice(&self.body_hash);
        out[64..96].copy_from_slice(&self.parent.map_or([0; 32], |id| id.0));
        out[96..104].copy_from_slice(&self.memory_bytes.to_le_bytes());
        let sum = checksum(&out);
        out[CHECKED_BYTES..].copy_from_slice(&sum);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderError::Short(bytes.len()));
        };
        if bytes[0..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let version = u16::from_le_bytes(array(bytes, 8));
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version { found: version });
        }
        if bytes[CHECKED_BYTES..] != checksum(bytes) {
            return Err(HeaderError::Checksum);
        }
        let architecture = u16::from_le_bytes(array(bytes, 10));
        if architecture != ARCH_X86_64 {
            return Err(HeaderError::Architecture {
                found: architecture,
            });
        }
        let parent_id = SnapshotId(array(bytes, 64));
        let parent = match u32::from_le_bytes(array(bytes, 12)) {
            0 => None,
            1 => Some(parent_id),
            _ => return Err(HeaderError::Value("unknown kind")),
        };
        let header = Self {
            parent,
            body_bytes: u64::from_le_bytes(array(bytes, 16)),
            ram_bytes: u64::from_le_bytes(array(bytes, 24)),
            body_hash: array(bytes, 32),
            memory_bytes: u64::from_le_bytes(array(bytes, 96)),
        };
        if header.body_bytes > MAX_BODY_BYTES {
            return Err(HeaderError::Value("the body is too large"));
        }
        if header.ram_bytes == 0 || !header.ram_bytes.is_multiple_of(1 << 20) {
            return Err(HeaderError::Value("RAM is not a whole number of MiB"));
        }
        Ok(header)
    }
}

fn checksum(header: &[u8; HEADER_BYTES]) -> [u8; HEADER_BYTES - CHECKED_BYTES] {
    array(blake3::hash(&header[..CHECKED_BYTES]).as_bytes(), 0)
}

/// The `N` bytes of `bytes` from `at`; callers pass constants that lie inside.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

// Tripwires: these values are on disks already; changing one is a new format version.
const _: () = assert!(HEADER_BYTES == 128 && CHECKED_BYTES == 112 && FORMAT_VERSION == 1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Header {
        Header {
            parent: Some(SnapshotId([7; 32])),
            body_bytes: 1234,
            ram_bytes: 256 << 20,
            memory_bytes: 4096,
            body_hash: [9; 32],
        }
    }

    #[test]
    fn a_header_survives() {
        assert_eq!(Header::decode(&sample().encode()), Ok(sample()));
        let full = Header {
            parent: None,
            ..sample()
        };
        assert_eq!(Header::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn another_version_is_named_as_such() {
        let mut bytes = sample().encode();
        bytes[8] = 2;
        assert_eq!(
            Header::decode(&bytes),
            Err(HeaderError::Version { found: 2 })
        );
    }

    /// The layout of format 1, byte for byte; breaks when anyone changes it without a new version.
    #[test]
    fn the_golden_header_of_format_1_is_still_written() {
        let hex: String = sample()
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            &hex[..32],
            "48525448534e415001000100010000000000"[..32].to_owned()
        );
        assert_eq!(
            &hex[32..64],
            "d204000000000000000000100000000000"[..32].to_owned()
        );
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in 0..HEADER_BYTES, bit in 0..8_u32) {
            let mut bytes = sample().encode();
            bytes[at] ^= 1 << bit;
            prop_assert!(Header::decode(&bytes).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Header::decode(&bytes);
        }
    }
}
