//! Guest RAM as copy-on-write memory, and sealed snapshots on disk.
//!
//! A *snapshot* is a directory that is never written again once it is sealed:
//!
//! ```text
//! <snapshot>/
//!   state        fixed header, then the body: what machine this is, the memory map, the chain (header.rs, body.rs)
//!   hashes       BLAKE3 of every chunk of every file below; its own digest is in the body (chunks.rs)
//!   memory       full: a sparse image of RAM; layer: the changed pages, packed
//!   disk-<n>     writable disks as they were at that moment (qcow2)
//! ```
//!
//! A *full* snapshot stands alone. A *layer* holds what changed since its parent; its body carries the
//! complete merged map from guest pages to files of the chain, so that a restore reads the body of one snapshot only.
//!
//! [`Ram`] is guest memory that starts as a private mapping of a snapshot. All clones share the pages that they do not
//! write, and the kernel reports which pages became private since ([`pagemap`]).
//!
//! The crate knows nothing of KVM or devices: the machine state is opaque bytes to it.

mod body;
mod capture;
mod chunks;
mod extents;
mod header;
mod layer_runs;
mod limits;
mod open;
mod pagemap;
pub mod plain;
mod ram;
mod verify;

pub use body::{MEMORY_FILE, NotAnId, SnapshotId, disk_file};
pub use capture::{Capture, CaptureError, MemoryKind, Sealed};
pub use extents::{Extent, ExtentMap, Source};
pub use header::{FORMAT_VERSION, HeaderError};
pub use limits::{Limits, PAGE_BYTES};
#[cfg(any(test, feature = "fuzzing"))]
pub use open::fuzz_state;
pub use open::{Description, Lineage, OpenError, OpenOptions, OpenSnapshot, describe};
pub use pagemap::open_pagemap_ahead;
pub use ram::{HOLE_END, HOLE_START, Ram, RamError};
pub use verify::{Problem, verify, verify_chain};
