//! Loading a guest from files: kernel, initramfs, command line, memory map.
//!
//! Two boot protocols are supported: PVH for an uncompressed ELF kernel (faster: nothing is decompressed), and the
//! 64-bit boot protocol for a bzImage.

pub mod command_line;
pub mod initramfs;
pub mod linux64;
pub mod loader;
pub mod memory_map;
pub mod pvh;

pub use loader::{BootError, BootFiles, load};
