//! Writes a fresh, empty qcow2 overlay: launching a clone must not cost more than a few hundred bytes of writes,
//! whatever the disk's size.
//!
//! ```text
//!   cluster 0   header, backing format extension, backing file name
//!   cluster 1   refcount table: one entry, -> cluster 2
//!   cluster 2   refcount block: one reference for each cluster of the file
//!   cluster 3.. L1 table: a hole, all zero = nothing allocated
//! ```
//!
//! Layout and field names: QEMU's docs/interop/qcow2.rst.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use thiserror::Error;

use super::image::DiskFormat;

/// 16 KiB: small copy-on-write units for small guest writes, while one L2 table (16 KiB of
/// cache when used) still covers 32 MiB of disk.
const CLUSTER_BITS: u32 = 14;
const CLUSTER: u64 = 1 << CLUSTER_BITS;

/// Bytes of disk that one L1 entry covers.
const L1_ENTRY_BYTES: u64 = CLUSTER / 8 * CLUSTER;

/// 2 TiB. Its L1 table takes 64 clusters; the refcount block of the fresh file has room for 8192.
const MAX_SIZE: u64 = 2 << 40;

/// Limit of the format for the name.
const MAX_BACKING_NAME: usize = 1023;

/// A version 3 header with the compression type field and its padding.
const HEADER_LEN: u32 = 112;

/// Extension that names the backing file's format.
const BACKING_FORMAT_EXTENSION: u32 = 0xe279_2aca;

/// Why an overlay could not be made.
#[derive(Debug, Error)]
pub enum OverlayError {
    /// The size is zero, not whole sectors, or beyond what Hearth supports.
    #[error("disk size of {0} bytes is not supported")]
    Size(u64),
    /// The format cannot hold the name.
    #[error("backing file name of more than {MAX_BACKING_NAME} bytes")]
    BackingName,
    /// The file could not be created; it must not exist before.
    #[error("create the overlay file")]
    Create(#[source] io::Error),
    /// The file could not be written.
    #[error("write the overlay file")]
    Write(#[source] io::Error),
}

/// Creates an overlay of `size` bytes at `path` (which must not exist), readable and writable by
/// its owner. The backing name is information for people and other tools: Hearth opens
/// chains by the paths it is given, never by this name. Nothing is synced: a clone that does not survive
/// a power cut is started anew.
pub fn create_overlay(
    path: &Path,
    size: u64,
    backing: Option<(&Path, DiskFormat)>,
) -> Result<(), OverlayError> {
    if size == 0 || !size.is_multiple_of(512) || size > MAX_SIZE {
        return Err(OverlayError::Size(size));
    }
    let l1_entries = size.div_ceil(L1_ENTRY_BYTES);
    let clusters = 3 + (l1_entries * 8).div_ceil(CLUSTER);
    let header = header(size, l1_entries as u32, backing)?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(OverlayError::Create)?;
    let write = || {
        file.set_len(clusters * CLUSTER)?;
        file.write_all_at(&header, 0)?;
        file.write_all_at(&(2 * CLUSTER).to_be_bytes(), CLUSTER)?;
        let references = 1u16.to_be_bytes().repeat(clusters as usize);
        file.write_all_at(&references, 2 * CLUSTER)
    };
    write().map_err(|error| {
        // On a full disk, half an overlay; whoever finds it would take it for one that is written to.
        let _ = std::fs::remove_file(path);
        OverlayError::Write(error)
    })
}

fn header(
    size: u64,
    l1_entries: u32,
    backing: Option<(&Path, DiskFormat)>,
) -> Result<Vec<u8>, OverlayError> {
    let mut extensions = Vec::new();
    let mut name: &[u8] = &[];
    if let Some((path, format)) = backing {
        let format = format.qcow2_name().as_bytes();
        extensions.extend(BACKING_FORMAT_EXTENSION.to_be_bytes());
        extensions.extend((format.len() as u32).to_be_bytes());
        extensions.extend(format);
        extensions.resize(extensions.len().next_multiple_of(8), 0);
        name = path.as_os_str().as_bytes();
    }
    // The end-of-extensions marker.
    extensions.extend([0; 8]);
    if name.len() > MAX_BACKING_NAME {
        return Err(OverlayError::BackingName);
    }
    let name_offset = if name.is_empty() {
        0
    } else {
        u64::from(HEADER_LEN) + extensions.len() as u64
    };

    let mut bytes = Vec::with_capacity(2048);
    bytes.extend(b"QFI\xfb");
    bytes.extend(3u32.to_be_bytes());
    bytes.extend(name_offset.to_be_bytes());
    bytes.extend((name.len() as u32).to_be_bytes());
    bytes.extend(CLUSTER_BITS.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    bytes.extend(0u32.to_be_bytes()); // no encryption
    bytes.extend(l1_entries.to_be_bytes());
    bytes.extend((3 * CLUSTER).to_be_bytes());
    bytes.extend(CLUSTER.to_be_bytes());
    bytes.extend(1u32.to_be_bytes()); // refcount table clusters
    bytes.extend(0u32.to_be_bytes()); // no internal snapshots
    bytes.extend(0u64.to_be_bytes());
    bytes.extend([0; 24]); // no incompatible, compatible or auto-clear features
    bytes.extend(4u32.to_be_bytes()); // refcounts of 16 bits
    bytes.extend(HEADER_LEN.to_be_bytes());
    bytes.resize(HEADER_LEN as usize, 0); // deflate, padding
    bytes.extend(extensions);
    bytes.extend(name);
    Ok(bytes)
}
