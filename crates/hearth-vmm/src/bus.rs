//! Dispatches guest accesses to MMIO addresses and ports to devices. Built once, then shared by all vCPU threads
//! without a lock.

use std::sync::Arc;

use crate::arch::x86_64::layout;
use crate::i8042;
use crate::serial::SerialPort;
use crate::virtio::MmioDevice;

/// The value that a read from an unused address gives: all lines high.
const FLOATING: u8 = 0xff;

/// The devices of one machine.
pub struct Bus {
    /// In the order of their windows.
    virtio: Vec<Arc<dyn MmioDevice>>,
    serial: Option<Arc<SerialPort>>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.virtio.iter().map(|device| device.name()).collect();
        f.debug_struct("Bus")
            .field("virtio", &names)
            .finish_non_exhaustive()
    }
}

/// The effect of a write to a port on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortEffect {
    /// No effect on the machine.
    None,
    /// The guest reset or turned itself off.
    Shutdown,
}

impl Bus {
    /// Builds a bus with the devices of `virtio` in consecutive windows.
    pub fn new(virtio: Vec<Arc<dyn MmioDevice>>, serial: Option<Arc<SerialPort>>) -> Self {
        Self { virtio, serial }
    }

    /// Serves a guest's read of `data.len()` bytes from an address outside RAM.
    pub fn mmio_read(&self, address: u64, data: &mut [u8]) {
        match self.window(address) {
            Some((device, offset)) => device.read(offset, data),
            None => data.fill(FLOATING),
        }
    }

    /// Serves a guest's write to an address outside RAM.
    pub fn mmio_write(&self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.window(address) {
            device.write(offset, data);
        }
    }

    /// Serves a guest's read from a port. A repeated read (`insb`) arrives as several bytes of the same port.
    pub fn port_read(&self, port: u16, data: &mut [u8]) {
        for byte in data {
            *byte = match (self.serial_register(port), i8042::read(port)) {
                (Some((serial, register)), _) => serial.read(register),
                (None, Some(value)) => value,
                (None, None) => FLOATING,
            };
        }
    }

    /// Serves a guest's write to a port. A repeated write (`outsb`) arrives as several bytes of the same port.
    pub fn port_write(&self, port: u16, data: &[u8]) -> PortEffect {
        if let Some((serial, register)) = self.serial_register(port) {
            for byte in data {
                serial.write(register, *byte);
            }
        }
        match data.iter().any(|byte| i8042::is_shutdown(port, *byte)) {
            true => PortEffect::Shutdown,
            false => PortEffect::None,
        }
    }

    fn window(&self, address: u64) -> Option<(&dyn MmioDevice, u64)> {
        let distance = address.checked_sub(layout::VIRTIO_MMIO)?;
        let index = usize::try_from(distance / layout::VIRTIO_MMIO_WINDOW).ok()?;
        let device = self.virtio.get(index)?;
        Some((device.as_ref(), distance % layout::VIRTIO_MMIO_WINDOW))
    }

    fn serial_register(&self, port: u16) -> Option<(&SerialPort, u8)> {
        let register = port.checked_sub(layout::SERIAL_PORT)?;
        let serial = self
            .serial
            .as_ref()
            .filter(|_| register < layout::SERIAL_PORTS)?;
        // Below 8.
        Some((serial, register as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    fn bus() -> Bus {
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let serial = SerialPort::new(line, crate::serial::Log::nowhere(), None);
        Bus::new(Vec::new(), Some(Arc::new(serial)))
    }

    #[test]
    fn nothing_reads_as_ones() {
        let mut data = [0; 8];
        bus().mmio_read(layout::VIRTIO_MMIO, &mut data);
        assert_eq!(data, [0xff; 8]);
        bus().port_read(0x1234, &mut data[..1]);
        assert_eq!(data[0], 0xff);
    }

    #[test]
    fn the_serial_port_has_eight_registers() {
        let bus = bus();
        bus.port_write(layout::SERIAL_PORT + 7, &[0x42]);
        let mut data = [0];
        bus.port_read(layout::SERIAL_PORT + 7, &mut data);
        assert_eq!(data, [0x42]);
        bus.port_read(layout::SERIAL_PORT + 8, &mut data);
        assert_eq!(data, [0xff]);
    }

    #[test]
    fn a_reset_is_seen_in_any_byte() {
        assert_eq!(
            bus().port_write(layout::I8042_COMMAND, &[0, 0xfe]),
            PortEffect::Shutdown
        );
        assert_eq!(
            bus().port_write(layout::I8042_DATA, &[0xfe]),
            PortEffect::None
        );
    }

    proptest! {
        #[test]
        fn no_access_panics(address: u64, port: u16, data in prop::collection::vec(any::<u8>(), 0..9)) {
            let bus = bus();
            let mut out = data.clone();
            bus.mmio_read(address, &mut out);
            bus.mmio_write(address, &data);
            bus.port_read(port, &mut out);
            bus.port_write(port, &data);
        }
    }
}
