//! Loads kernel, initramfs, command line and boot parameters into guest memory, and finds the kernel's entry point.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use linux_loader::loader::bzimage::BzImage;
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::{self, KernelLoader, KernelLoaderResult};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::command_line::{self, CommandLineError};
use super::initramfs::{self, InitramfsError};
use super::{linux64, memory_map, pvh};
use crate::arch::x86_64::layout;
use crate::arch::x86_64::registers::Entry;
use crate::virtio::GuestRam;

/// The files and parameters of a boot.
#[derive(Debug, Clone, Copy)]
pub struct BootFiles<'a> {
    /// ELF kernel or bzImage.
    pub kernel: &'a Path,
    /// Initial ramdisk.
    pub initramfs: Option<&'a Path>,
    /// Parameters that are appended to the VMM's own kernel command line.
    pub command_line: &'a str,
    /// Whether there is a serial port.
    pub has_serial: bool,
}

/// Why a guest cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The command line is not acceptable.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    /// A file cannot be opened or read.
    #[error("open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel image could not be loaded.
    #[error("load the kernel")]
    Kernel(#[source] loader::Error),
    /// An ELF file without PVH entry, or a bzImage without 64-bit entry.
    #[error("the kernel has neither a PVH entry nor one of the 64-bit boot protocol")]
    NoEntry,
    /// The initramfs does not load.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// A table could not be written.
    #[error("write the boot parameters")]
    Parameters(#[source] GuestMemoryError),
}

/// First bytes of an ELF file.
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

/// Loads kernel, initramfs, command line and boot parameters into `ram`. Answers the kernel's entry point.
pub fn load(ram: &GuestRam, ram_bytes: u64, files: &BootFiles<'_>) -> Result<Entry, BootError> {
    let command_line = command_line::compose(files.has_serial, files.command_line)?;
    let mut text = command_line.into_bytes();
    text.push(0);
    ram.write_slice(&text, GuestAddress(layout::COMMAND_LINE))
        .map_err(BootError::Parameters)?;

    let mut kernel = open(files.kernel)?;
    let mut magic = [0; 4];
    kernel
        .read_exact(&mut magic)
        .map_err(opening(files.kernel))?;
    kernel.rewind().map_err(opening(files.kernel))?;
    let map = memory_map::of(ram_bytes);
    let low_end = ram_bytes.min(layout::LOW_RAM_END);
    if magic == ELF_MAGIC {
        let himem = Some(GuestAddress(layout::HIMEM));
        let loaded = Elf::load(ram, None, &mut kernel, himem).map_err(BootError::Kernel)?;
        let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
            return Err(BootError::NoEntry);
        };
        let placed = load_initramfs(ram, files, &loaded, low_end)?;
        pvh::write(ram, &map, placed).map_err(BootError::Parameters)?;
        return Ok(Entry::Pvh(entry.0));
    }
    let loaded = BzImage::load(ram, None, &mut kernel, None).map_err(BootError::Kernel)?;
    let header = loaded
        .setup_header
        .filter(linux64::is_supported)
        .ok_or(BootError::NoEntry)?;
    let limit = low_end.min(u64::from(header.initrd_addr_max) + 1);
    let placed = load_initramfs(ram, files, &loaded, limit)?;
    linux64::write(ram, header, text.len() as u32, &map, placed).map_err(BootError::Parameters)?;
    Ok(Entry::Linux64(loaded.kernel_load.0 + linux64::ENTRY_OFFSET))
}

fn load_initramfs(
    ram: &GuestRam,
    files: &BootFiles<'_>,
    kernel: &KernelLoaderResult,
    limit: u64,
) -> Result<Option<initramfs::Placed>, BootError> {
    let Some(path) = files.initramfs else {
        return Ok(None);
    };
    // A bzImage unpacks itself to more than its file's size: `init_size` says to how much.
    let unpacked = kernel.setup_header.map_or(0, |header| {
        header.pref_address.max(kernel.kernel_load.0) + u64::from(header.init_size)
    });
    let kernel_end = kernel.kernel_end.max(unpacked);
    let mut file = open(path)?;
    Ok(Some(initramfs::load(ram, &mut file, kernel_end, limit)?))
}

fn open(path: &Path) -> Result<File, BootError> {
    File::open(path).map_err(opening(path))
}

fn opening(path: &Path) -> impl FnOnce(io::Error) -> BootError {
    let path = path.to_owned();
    move |source| BootError::Open { path, source }
}
