//! The guest's physical address space, ports and interrupt lines.
//!
//! ```text
//! 0000_0500  GDT                              only read at the first instruction
//! 0000_6000  start info and memory map        PVH
//! 0000_7000  zero page                        64-bit boot protocol
//! 0000_9000  page tables                      64-bit boot protocol
//! 0002_0000  kernel command line
//! 0009_fc00  end of conventional memory
//! 000e_0000  RSDP, ACPI tables                reserved in the memory map
//! 000f_f000  VM generation id                 reserved in the memory map
//! 0010_0000  RAM: kernel from 16 MiB, initramfs at the top
//! c000_0000  end of low RAM; virtio-mmio windows
//! fec0_0000  IOAPIC
//! fee0_0000  local APIC
//! ffff_c000  identity map page and TSS of KVM
//! 1_0000_0000  rest of RAM
//! ```

/// Global descriptor table of the first instruction.
pub const GDT: u64 = 0x500;

/// `hvm_start_info` of the PVH protocol.
pub const PVH_START_INFO: u64 = 0x6000;

/// Memory map that the start info points to.
pub const PVH_MEMORY_MAP: u64 = 0x6800;

/// Module list (the initramfs) that the start info points to.
pub const PVH_MODULES: u64 = 0x6100;

/// `boot_params` of the 64-bit boot protocol, one page.
pub const ZERO_PAGE: u64 = 0x7000;

/// Top of the three page-table pages of the 64-bit boot protocol.
pub const PAGE_TABLES: u64 = 0x9000;

/// Kernel command line.
pub const COMMAND_LINE: u64 = 0x2_0000;

/// Longest command line with its final zero: `COMMAND_LINE_SIZE` of Linux on x86.
pub const COMMAND_LINE_MAX: usize = 2048;

/// End of conventional memory.
pub const CONVENTIONAL_END: u64 = 0x9_fc00;

/// Root of the ACPI tables; in the range that an operating system searches.
pub const RSDP: u64 = 0xe_0000;

/// ACPI tables follow the RSDP.
pub const ACPI_TABLES: u64 = RSDP + 0x40;

/// End of the space for ACPI tables.
pub const ACPI_TABLES_END: u64 = VMGENID;

/// Page with the VM generation id.
pub const VMGENID: u64 = 0xf_f000;

/// First byte of RAM above the first mebibyte.
pub const HIMEM: u64 = 0x10_0000;

/// End of RAM below the hole; RAM that does not fit continues at [`HIGH_RAM`].
pub const LOW_RAM_END: u64 = 0xc000_0000;

/// Start of RAM above the hole.
pub const HIGH_RAM: u64 = 0x1_0000_0000;

/// First virtio-mmio window; the windows follow each other.
pub const VIRTIO_MMIO: u64 = LOW_RAM_END;

/// Bytes of one window.
pub const VIRTIO_MMIO_WINDOW: u64 = 0x1000;

/// IOAPIC, as KVM places it.
pub const IOAPIC: u32 = 0xfec0_0000;

/// Local APIC, as KVM places it.
pub const LOCAL_APIC: u32 = 0xfee0_0000;

/// Page that KVM needs on Intel hosts for guests without paging.
pub const IDENTITY_MAP: u64 = 0xffff_c000;

/// Three pages that KVM needs on Intel hosts for guests in real mode.
pub const TSS: usize = 0xffff_d000;

/// First port of the serial port.
pub const SERIAL_PORT: u16 = 0x3f8;

/// Number of ports of the serial port.
pub const SERIAL_PORTS: u16 = 8;

/// Data and command port of the keyboard controller.
pub const I8042_DATA: u16 = 0x60;
/// Command port of the keyboard controller; writing 0xfe pulses the reset line.
pub const I8042_COMMAND: u16 = 0x64;

/// ACPI sleep control register (ACPI 6.5 section 4.8.3.7); outside every legacy range.
pub const SLEEP_CONTROL_PORT: u16 = 0x600;

/// ACPI sleep status register.
pub const SLEEP_STATUS_PORT: u16 = 0x601;

/// Interrupt line of the serial port.
pub const SERIAL_GSI: u32 = 4;

/// First interrupt line of virtio devices; each has its own.
pub const VIRTIO_GSI: u32 = 5;

/// Interrupt line of the generic event device: the last pin of KVM's IOAPIC.
pub const EVENT_GSI: u32 = 23;

/// Most virtio devices of a machine: the lines between [`VIRTIO_GSI`] and [`EVENT_GSI`].
pub const VIRTIO_DEVICES_MAX: usize = (EVENT_GSI - VIRTIO_GSI) as usize;

/// Most vCPUs of a machine.
pub const VCPUS_MAX: u8 = 16;

/// Smallest and largest RAM, in MiB.
pub const MEMORY_MIB: std::ops::RangeInclusive<u32> = 64..=32768;
