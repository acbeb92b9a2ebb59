//! The device descriptions in the DSDT: devices that the kernel cannot find by probing.
//!
//! - `LNRO0005`: virtio-mmio (one for each device; Linux, Documentation/firmware-guide/acpi).
//! - `ACPI0013`: the generic event device, which turns an interrupt line into a notification of the
//!   generation counter (ACPI 6.5 section 5.6.9).
//! - `VMGENCTR`: the generation counter (Microsoft, "Virtual Machine Generation ID").
//! - `PNP0501`: the serial port, when there is one.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Arg, Device, EISAName, Equal, IO, If, Interrupt, Memory32Fixed, Method, Name, Notify, Package,
    Path, ResourceTemplate, Scope,
};

use super::layout;

/// The parts of a machine that its ACPI tables describe.
#[derive(Debug, Clone, Copy)]
pub struct Platform {
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Number of virtio devices; they have the first windows and interrupt lines.
    pub virtio_devices: usize,
    /// Whether there is a serial port.
    pub has_serial: bool,
}

/// "The information of this device changed" for devices of their own kind (ACPI 6.5 section 5.6.6).
const NOTIFY_CHANGED: u8 = 0x80;

/// `_STA` of a device that is present.
const PRESENT: u8 = 0xf;

/// Encodes the definition blocks (AML) of all devices.
pub fn devices(platform: &Platform) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Sleep type 5 for "soft off"; the value is what the guest writes to the sleep control register.
    Name::new("_S5_".into(), &Package::new(vec![&SLEEP_TYPE_OFF])).to_aml_bytes(&mut bytes);
    let mut inner = Vec::new();
    for index in 0..platform.virtio_devices {
        virtio(&mut inner, index);
    }
    generation_counter(&mut inner);
    event_device(&mut inner);
    if platform.has_serial {
        serial(&mut inner);
    }
    bytes.extend_from_slice(&Scope::raw("_SB_".into(), inner));
    bytes
}

/// Sleep type that a guest writes to turn the machine off.
pub const SLEEP_TYPE_OFF: u8 = 5;

fn virtio(bytes: &mut Vec<u8>, index: usize) {
    // Below `VIRTIO_DEVICES_MAX`, so neither the address nor the line leaves 32 bits.
    let base = (layout::VIRTIO_MMIO + index as u64 * layout::VIRTIO_MMIO_WINDOW) as u32;
    let line = layout::VIRTIO_GSI + index as u32;
    let name = format!("V{index:03}");
    Device::new(
        name.as_str().into(),
        vec![
            &Name::new("_HID".into(), &"LNRO0005"),
            &Name::new("_UID".into(), &(index as u8)),
            // Without this, Linux takes the device for one that is not cache coherent.
            &Name::new("_CCA".into(), &1u8),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &Memory32Fixed::new(true, base, layout::VIRTIO_MMIO_WINDOW as u32),
                    &Interrupt::new(true, true, false, false, line),
                ]),
            ),
        ],
    )
    .to_aml_bytes(bytes);
}

fn generation_counter(bytes: &mut Vec<u8>) {
    Device::new(
        "VGEN".into(),
        vec![
            &Name::new("_HID".into(), &"HRTH0001"),
            &Name::new("_CID".into(), &"VMGENCTR"),
            &Name::new("_DDN".into(), &"VM_Gen_Counter"),
            &Name::new("_STA".into(), &PRESENT),
            // Address of the id, low half first.
            &Name::new(
                "ADDR".into(),
                &Package::new(vec![&(layout::VMGENID as u32), &0u32]),
            ),
        ],
    )
    .to_aml_bytes(bytes);
}

fn event_device(bytes: &mut Vec<u8>) {
    Device::new(
        "GED_".into(),
        vec![
            &Name::new("_HID".into(), &"ACPI0013"),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&Interrupt::new(
                    true,
                    true,
                    false,
                    false,
                    layout::EVENT_GSI,
                )]),
            ),
            &Method::new(
                "_EVT".into(),
                1,
                true,
                vec![&If::new(
                    &Equal::new(&Arg(0), &layout::EVENT_GSI),
                    vec![&Notify::new(&Path::new("\\_SB_.VGEN"), &NOTIFY_CHANGED)],
                )],
            ),
        ],
    )
    .to_aml_bytes(bytes);
}

fn serial(bytes: &mut Vec<u8>) {
    let (port, ports) = (layout::SERIAL_PORT, layout::SERIAL_PORTS as u8);
    Device::new(
        "COM1".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0501")),
            &Name::new("_UID".into(), &1u8),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &IO::new(port, port, 1, ports),
                    &Interrupt::new(true, true, false, false, layout::SERIAL_GSI),
                ]),
            ),
        ],
    )
    .to_aml_bytes(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_virtio_device_has_its_window_and_its_line() {
        let platform = Platform {
            vcpus: 1,
            virtio_devices: 3,
            has_serial: false,
        };
        let bytes = devices(&platform);
        assert_eq!(
            bytes
                .windows(8)
                .filter(|window| window == b"LNRO0005")
                .count(),
            3
        );
        let last_window = (layout::VIRTIO_MMIO as u32 + 0x2000).to_le_bytes();
        assert!(bytes.windows(4).any(|window| window == last_window));
        assert!(!bytes.windows(4).any(|window| window == b"COM1"));
    }
}
