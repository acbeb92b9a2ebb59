//! From files to a guest that can begin: kernel, initramfs, command line, memory map.
//!
//! Two ways in: an uncompressed ELF kernel by its PVH entry (the fast one: nothing is decompressed), and
//! a bzImage by the 64-bit boot protocol.

pub mod command_line;
pub mod initramfs;
pub mod linux64;
pub mod loader;
pub mod memory_map;
pub mod pvh;

pub use loader::{BootError, BootFiles, load};
