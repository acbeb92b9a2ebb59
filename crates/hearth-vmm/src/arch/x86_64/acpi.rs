//! The ACPI tables that a booting kernel finds (ACPI 6.5).
//!
//! Hardware-reduced: no fixed hardware but the sleep control register, so the kernel probes neither PIT nor
//! PIC, and no keyboard controller (the reset line behind its port works all the same).
//!
//! ```text
//! RSDP -> XSDT -> FADT -> DSDT   devices (aml.rs)
//!              -> MADT           local APICs, IOAPIC
//! ```

use acpi_tables::Aml;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::aml::{self, Platform};
use super::layout;
use crate::virtio::GuestRam;

const OEM: [u8; 6] = *b"HEARTH";
const OEM_TABLE: [u8; 8] = *b"HEARTHVM";
const OEM_REVISION: u32 = 1;

/// Bytes of a table's header.
const SDT_HEADER_BYTES: u32 = 36;

/// Revision of a DSDT whose integers have 64 bits.
const DSDT_REVISION: u8 = 2;

/// IA-PC boot flags (ACPI 6.5 table 5.10): there is no VGA, MSI is not to be used, no CMOS clock.
/// The missing bits say that there are no legacy devices and no keyboard controller.
const BOOT_FLAGS: u16 = 1 << 2 | 1 << 3 | 1 << 5;

/// Why the tables could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum AcpiError {
    /// More devices than there is space for their description.
    #[error("the ACPI tables need {0} bytes more than there are")]
    TooLarge(u64),
    /// The tables' address lies outside guest memory.
    #[error("write the ACPI tables")]
    Write(#[source] GuestMemoryError),
}

/// Writes all tables at their places in guest memory.
pub fn write(ram: &GuestRam, platform: &Platform) -> Result<(), AcpiError> {
    let tables = build(platform);
    let end = layout::ACPI_TABLES + tables.bytes.len() as u64;
    if end > layout::ACPI_TABLES_END {
        return Err(AcpiError::TooLarge(end - layout::ACPI_TABLES_END));
    }
    let write = |bytes: &[u8], at: u64| {
        ram.write_slice(bytes, GuestAddress(at))
            .map_err(AcpiError::Write)
    };
    write(&tables.bytes, layout::ACPI_TABLES)?;
    write(&tables.rsdp, layout::RSDP)
}

struct Tables {
    rsdp: Vec<u8>,
    /// All tables but the RSDP, laid out one after the other from [`layout::ACPI_TABLES`].
    bytes: Vec<u8>,
}

fn build(platform: &Platform) -> Tables {
    let mut bytes = Vec::new();
    let dsdt = place(&mut bytes, &dsdt(platform));
    let fadt = place(&mut bytes, &encoded(&fadt(dsdt)));
    let madt = place(&mut bytes, &encoded(&madt(platform.vcpus)));
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = place(&mut bytes, &encoded(&xsdt));
    Tables {
        rsdp: encoded(&Rsdp::new(OEM, xsdt)),
        bytes,
    }
}

/// Appends a table, aligned, and returns its guest address.
fn place(bytes: &mut Vec<u8>, table: &[u8]) -> u64 {
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let address = layout::ACPI_TABLES + bytes.len() as u64;
    bytes.extend_from_slice(table);
    address
}

fn encoded(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

fn dsdt(platform: &Platform) -> Vec<u8> {
    let mut table = Sdt::new(
        *b"DSDT",
        SDT_HEADER_BYTES,
        DSDT_REVISION,
        OEM,
        OEM_TABLE,
        OEM_REVISION,
    );
    table.append_slice(&aml::devices(platform));
    table.as_slice().to_vec()
}

fn fadt(dsdt: u64) -> acpi_tables::fadt::FADT {
    let register = |port: u16| {
        GAS::new(
            AddressSpace::SystemIo,
            8,
            0,
            AccessSize::ByteAccess,
            u64::from(port),
        )
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::Headless);
    fadt.iapc_boot_arch = BOOT_FLAGS.into();
    fadt.sleep_control_reg = register(layout::SLEEP_CONTROL_PORT);
    fadt.sleep_status_reg = register(layout::SLEEP_STATUS_PORT);
    fadt.finalize()
}

fn madt(vcpus: u8) -> MADT {
    let address = LocalInterruptController::Address(layout::LOCAL_APIC);
    let mut madt = MADT::new(OEM, OEM_TABLE, OEM_REVISION, address);
    for index in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(
            index,
            index,
            EnabledStatus::Enabled,
        ));
    }
    madt.add_structure(IoApic::new(0, layout::IOAPIC, 0));
    madt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        Platform {
            vcpus: 4,
            virtio_devices: layout::VIRTIO_DEVICES_MAX,
            has_serial: true,
        }
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    fn table(bytes: &[u8], address: u64) -> &[u8] {
        let start = (address - layout::ACPI_TABLES) as usize;
        let length = u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap()) as usize;
        &bytes[start..start + length]
    }

    #[test]
    fn every_table_is_reachable_from_the_root_and_sums_to_zero() {
        let tables = build(&platform());
        assert_eq!(&tables.rsdp[..8], b"RSD PTR ");
        assert_eq!((sum(&tables.rsdp[..20]), sum(&tables.rsdp)), (0, 0));
        let xsdt = table(&tables.bytes, word(&tables.rsdp, 24));
        assert_eq!((&xsdt[..4], sum(xsdt)), (b"XSDT".as_slice(), 0));
        let fadt = table(&tables.bytes, word(xsdt, 36));
        assert_eq!((&fadt[..4], sum(fadt)), (b"FACP".as_slice(), 0));
        let madt = table(&tables.bytes, word(xsdt, 44));
        assert_eq!((&madt[..4], sum(madt)), (b"APIC".as_slice(), 0));
        let dsdt = table(&tables.bytes, word(fadt, 140));
        assert_eq!((&dsdt[..4], sum(dsdt)), (b"DSDT".as_slice(), 0));
    }

    #[test]
    fn the_largest_machine_fits() {
        let mut platform = platform();
        platform.vcpus = layout::VCPUS_MAX;
        let end = layout::ACPI_TABLES + build(&platform).bytes.len() as u64;
        assert!(end <= layout::ACPI_TABLES_END);
    }
}
