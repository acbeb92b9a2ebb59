//! The zero page of the 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst and zero-page.rst).

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::initramfs::Placed;
use super::memory_map::MemoryRange;
use crate::arch::x86_64::layout;
use crate::virtio::GuestRam;

/// "A boot loader that has no number of its own."
const LOADER_UNDEFINED: u8 = 0xff;

/// The 64-bit entry lies this far behind the start of the protected-mode kernel.
pub const ENTRY_OFFSET: u64 = 0x200;

/// `XLF_KERNEL_64`: the kernel has that entry.
const HAS_ENTRY_64: u16 = 1;

/// Whether the kernel's header says that it has the 64-bit entry point.
pub fn is_supported(header: &setup_header) -> bool {
    header.xloadflags & HAS_ENTRY_64 != 0
}

/// Writes the zero page at [`layout::ZERO_PAGE`].
pub fn write(
    ram: &GuestRam,
    header: setup_header,
    command_line_bytes: u32,
    map: &[MemoryRange],
    initramfs: Option<Placed>,
) -> Result<(), GuestMemoryError> {
    let mut params = boot_params {
        hdr: header,
        ..Default::default()
    };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    // The command line is below 1 MiB and the ramdisk below 4 GiB.
    params.hdr.cmd_line_ptr = layout::COMMAND_LINE as u32;
    params.hdr.cmdline_size = command_line_bytes;
    if let Some(placed) = initramfs {
        params.hdr.ramdisk_image = placed.start as u32;
        params.hdr.ramdisk_size = placed.bytes as u32;
    }
    params.acpi_rsdp_addr = layout::RSDP;
    for (index, range) in map.iter().enumerate() {
        params.e820_table[index] = boot_e820_entry {
            addr: range.start,
            size: range.bytes,
            r#type: range.kind as u32,
        };
    }
    params.e820_entries = map.len() as u8;
    ram.write_obj(params, GuestAddress(layout::ZERO_PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::memory_map;

    #[test]
    fn fields_are_at_the_offsets_of_the_protocol() {
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let placed = Placed {
            start: 0x300_0000,
            bytes: 77,
        };
        let header = setup_header {
            xloadflags: 1,
            ..Default::default()
        };
        assert!(is_supported(&header));
        write(&ram, header, 5, &memory_map::of(8 << 30), Some(placed)).unwrap();
        let word = |at: u64| {
            ram.read_obj::<u32>(GuestAddress(layout::ZERO_PAGE + at))
                .unwrap()
        };
        assert_eq!(word(0x218), 0x300_0000);
        assert_eq!(word(0x21c), 77);
        assert_eq!(word(0x228), layout::COMMAND_LINE as u32);
        assert_eq!(word(0x1e8) & 0xff, 4);
        assert_eq!(word(0x070), layout::RSDP as u32);
    }
}
