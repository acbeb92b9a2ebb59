//! The boot parameters of the PVH protocol: `hvm_start_info` and the tables that it points to (Xen,
//! `xen/include/public/arch-x86/hvm/start_info.h`).

use linux_loader::loader::elf::start_info::{
    hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::initramfs::Placed;
use super::memory_map::MemoryRange;
use crate::arch::x86_64::layout;
use crate::virtio::GuestRam;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;

/// The version with a memory map.
const VERSION: u32 = 1;

/// Writes the start info at [`layout::PVH_START_INFO`].
pub fn write(
    ram: &GuestRam,
    map: &[MemoryRange],
    initramfs: Option<Placed>,
) -> Result<(), GuestMemoryError> {
    for (address, range) in (layout::PVH_MEMORY_MAP..).step_by(24).zip(map) {
        let entry = hvm_memmap_table_entry {
            addr: range.start,
            size: range.bytes,
            type_: range.kind as u32,
            reserved: 0,
        };
        ram.write_obj(entry, GuestAddress(address))?;
    }
    let mut info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        cmdline_paddr: layout::COMMAND_LINE,
        rsdp_paddr: layout::RSDP,
        memmap_paddr: layout::PVH_MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    if let Some(placed) = initramfs {
        let module = hvm_modlist_entry {
            paddr: placed.start,
            size: placed.bytes,
            ..Default::default()
        };
        ram.write_obj(module, GuestAddress(layout::PVH_MODULES))?;
        info.nr_modules = 1;
        info.modlist_paddr = layout::PVH_MODULES;
    }
    ram.write_obj(info, GuestAddress(layout::PVH_START_INFO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::memory_map;

    #[test]
    fn the_start_info_leads_to_the_map_and_the_ramdisk() {
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let placed = Placed {
            start: 0x300_0000,
            bytes: 77,
        };
        write(&ram, &memory_map::of(128 << 20), Some(placed)).unwrap();
        let info: hvm_start_info = ram.read_obj(GuestAddress(layout::PVH_START_INFO)).unwrap();
        assert_eq!(
            (info.magic, info.nr_modules, info.memmap_entries),
            (MAGIC, 1, 3)
        );
        let module: hvm_modlist_entry = ram.read_obj(GuestAddress(info.modlist_paddr)).unwrap();
        assert_eq!((module.paddr, module.size), (placed.start, placed.bytes));
        let last = GuestAddress(info.memmap_paddr + 2 * 24);
        let entry: hvm_memmap_table_entry = ram.read_obj(last).unwrap();
        assert_eq!(
            (entry.addr, entry.size, entry.type_),
            (1 << 20, 127 << 20, 1)
        );
    }
}
