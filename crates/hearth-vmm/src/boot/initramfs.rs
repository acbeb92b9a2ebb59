//! Places the initial ramdisk at the top of low RAM, as far from the kernel as possible.

use std::fs::File;
use std::io;

use vm_memory::{Bytes, GuestAddress};

use crate::arch::x86_64::layout;
use crate::virtio::GuestRam;

/// Where the ramdisk lies in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Why the ramdisk could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The size of the file cannot be read.
    #[error("measure the initramfs")]
    Measure(#[source] io::Error),
    /// The ramdisk does not fit between the kernel and the end of low memory.
    #[error(
        "the initramfs has {bytes} bytes, between the kernel and the end of low memory are {room}"
    )]
    TooLarge {
        /// Size of the ramdisk.
        bytes: u64,
        /// Bytes that are free.
        room: u64,
    },
    /// The file could not be read into guest memory.
    #[error("read the initramfs into guest memory")]
    Read(#[source] vm_memory::GuestMemoryError),
}

const PAGE: u64 = 4096;

/// Highest address at which `bytes` fit between `kernel_end` and `limit`, page aligned.
pub fn place(bytes: u64, kernel_end: u64, limit: u64) -> Result<Placed, InitramfsError> {
    let room = limit.saturating_sub(kernel_end.max(layout::HIMEM).next_multiple_of(PAGE));
    let start = limit.checked_sub(bytes).map(|start| start & !(PAGE - 1));
    match start {
        Some(start) if start >= kernel_end && start >= layout::HIMEM => Ok(Placed { start, bytes }),
        _ => Err(InitramfsError::TooLarge { bytes, room }),
    }
}

/// Reads the file into guest memory, at the highest address below `limit`.
pub fn load(
    ram: &GuestRam,
    file: &mut File,
    kernel_end: u64,
    limit: u64,
) -> Result<Placed, InitramfsError> {
    let bytes = file.metadata().map_err(InitramfsError::Measure)?.len();
    let placed = place(bytes, kernel_end, limit)?;
    // `place` keeps it below 4 GiB.
    ram.read_exact_volatile_from(GuestAddress(placed.start), file, bytes as usize)
        .map_err(InitramfsError::Read)?;
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_the_limit_and_starts_on_a_page() {
        assert_eq!(
            place(5000, 0x200_0000, 0x400_0000).unwrap().start,
            0x3ff_e000
        );
    }

    #[test]
    fn it_never_reaches_into_the_kernel() {
        assert!(place(0x100_0000, 0x200_0000, 0x300_0000).is_ok());
        assert!(place(0x100_0001, 0x200_0000, 0x300_0000).is_err());
        assert!(place(u64::MAX, 0x200_0000, 0x300_0000).is_err());
    }
}
