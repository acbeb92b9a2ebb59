//! The registers with which the first CPU begins, for the two boot protocols.
//!
//! PVH (Xen's `docs/misc/pvh.pandoc`): 32-bit protected mode without paging, `ebx` pointing to the start
//! info. 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst): long mode with the first
//! GiB mapped one to one, `rsi` pointing to the zero page.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::layout;
use crate::virtio::GuestRam;

/// Where the first CPU begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// PVH: address of the 32-bit entry.
    Pvh(u64),
    /// 64-bit boot protocol: address of the 64-bit entry.
    Linux64(u64),
}

/// Why the registers could not be set.
#[derive(Debug, thiserror::Error)]
pub enum RegistersError {
    /// The tables do not fit into guest memory.
    #[error("write descriptor and page tables")]
    Tables(#[source] GuestMemoryError),
    /// KVM refused.
    #[error("set {what}")]
    Kvm {
        /// Which registers.
        what: &'static str,
        /// The cause.
        #[source]
        source: kvm_ioctls::Error,
    },
}

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Bit 1 of the flags is always one.
const RFLAGS_RESERVED: u64 = 1 << 1;

/// Present and writable, for page-table entries; and "large page".
const PAGE_PRESENT_WRITABLE: u64 = 0b11;
const PAGE_LARGE: u64 = 1 << 7;

/// Flags of a descriptor in the layout of GDT entries (SDM volume 3, 3.4.5).
#[derive(Debug, Clone, Copy)]
struct Descriptor(u16);

impl Descriptor {
    const CODE_64: Self = Self(0xa09b);
    const CODE_32: Self = Self(0xc09b);
    const DATA: Self = Self(0xc093);
    const TSS: Self = Self(0x008b);

    fn limit(self) -> u32 {
        if self.0 & 0x8000 == 0 { 0x67 } else { 0xf_ffff }
    }

    fn table_entry(self) -> u64 {
        let limit = u64::from(self.limit());
        limit & 0xffff | (limit & 0xf_0000) << 32 | u64::from(self.0 & 0xf0ff) << 40
    }

    fn segment(self, index: u16) -> kvm_segment {
        let flag = |bit: u16| (self.0 >> bit & 1) as u8;
        let granular = flag(15);
        kvm_segment {
            base: 0,
            limit: if granular == 1 {
                u32::MAX
            } else {
                self.limit()
            },
            selector: index * 8,
            type_: (self.0 & 0xf) as u8,
            present: flag(7),
            dpl: (self.0 >> 5 & 3) as u8,
            db: flag(14),
            s: flag(4),
            l: flag(13),
            g: granular,
            avl: flag(12),
            ..Default::default()
        }
    }
}

/// Sets the registers of the CPU that boots, and writes the tables that they point to.
pub fn set_up(vcpu: &VcpuFd, ram: &GuestRam, entry: Entry) -> Result<(), RegistersError> {
    let kvm = |what| move |source| RegistersError::Kvm { what, source };
    let mut special = vcpu.get_sregs().map_err(kvm("system registers"))?;
    let general = match entry {
        Entry::Pvh(rip) => {
            set_segments(&mut special, ram, Descriptor::CODE_32)?;
            special.cr0 = CR0_PE | CR0_ET;
            special.cr4 = 0;
            kvm_regs {
                rip,
                rbx: layout::PVH_START_INFO,
                rflags: RFLAGS_RESERVED,
                ..Default::default()
            }
        }
        Entry::Linux64(rip) => {
            set_segments(&mut special, ram, Descriptor::CODE_64)?;
            set_long_mode(&mut special, ram)?;
            kvm_regs {
                rip,
                rsi: layout::ZERO_PAGE,
                rflags: RFLAGS_RESERVED,
                ..Default::default()
            }
        }
    };
    vcpu.set_sregs(&special).map_err(kvm("system registers"))?;
    vcpu.set_regs(&general).map_err(kvm("general registers"))
}

fn set_segments(
    special: &mut kvm_sregs,
    ram: &GuestRam,
    code: Descriptor,
) -> Result<(), RegistersError> {
    // Entry 1 stays empty: the 64-bit boot protocol wants code at 0x10 and data at 0x18.
    let table = [
        0,
        0,
        code.table_entry(),
        Descriptor::DATA.table_entry(),
        Descriptor::TSS.table_entry(),
    ];
    for (offset, entry) in (layout::GDT..).step_by(8).zip(table) {
        ram.write_obj(entry, GuestAddress(offset))
            .map_err(RegistersError::Tables)?;
    }
    special.gdt.base = layout::GDT;
    special.gdt.limit = (table.len() * 8 - 1) as u16;
    special.idt.base = 0;
    special.idt.limit = 0;
    special.cs = code.segment(2);
    let data = Descriptor::DATA.segment(3);
    (special.ds, special.es, special.ss) = (data, data, data);
    (special.fs, special.gs) = (data, data);
    special.tr = Descriptor::TSS.segment(4);
    Ok(())
}

fn set_long_mode(special: &mut kvm_sregs, ram: &GuestRam) -> Result<(), RegistersError> {
    let [top, directories, directory] =
        [0, 0x1000, 0x2000].map(|offset| layout::PAGE_TABLES + offset);
    let write = |value: u64, address: u64| {
        ram.write_obj(value, GuestAddress(address))
            .map_err(RegistersError::Tables)
    };
    write(directories | PAGE_PRESENT_WRITABLE, top)?;
    write(directory | PAGE_PRESENT_WRITABLE, directories)?;
    for index in 0..512_u64 {
        write(
            index << 21 | PAGE_PRESENT_WRITABLE | PAGE_LARGE,
            directory + index * 8,
        )?;
    }
    special.cr3 = top;
    special.cr4 |= CR4_PAE;
    special.cr0 |= CR0_PE | CR0_PG;
    special.efer |= EFER_LME | EFER_LMA;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_the_bits_of_the_manual() {
        assert_eq!(Descriptor::CODE_64.table_entry(), 0x00af_9b00_0000_ffff);
        assert_eq!(Descriptor::CODE_32.table_entry(), 0x00cf_9b00_0000_ffff);
        assert_eq!(Descriptor::DATA.table_entry(), 0x00cf_9300_0000_ffff);
        assert_eq!(Descriptor::TSS.table_entry(), 0x0000_8b00_0000_0067);
    }

    #[test]
    fn a_flat_code_segment_reaches_the_end() {
        let segment = Descriptor::CODE_32.segment(2);
        assert_eq!(
            (segment.limit, segment.selector, segment.db, segment.l),
            (u32::MAX, 0x10, 1, 0)
        );
    }
}
