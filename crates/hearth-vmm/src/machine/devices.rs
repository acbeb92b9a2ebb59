//! Creates the devices of a machine from the node's request, in the order in which the guest finds them.
//!
//! Order: disks, network cards, vsock, balloon, rng. The place in this order is the device's window,
//! interrupt line and slot in the event loop, so it never changes within a machine's life.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;

use hearth_wire::vmm::{DeviceSpec, DiskImage, DiskSpec, NetSpec, VsockSpec};
use kvm_ioctls::{IoEventAddress, VmFd};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device_error::DeviceError;
use super::disks::{NewOverlays, WritableDisk, block_config};
use super::parts::Wiring;
use super::rate_limit::rate_limit;
use crate::arch::x86_64::layout;
use crate::serial::{Log, PortState, SerialPort};
use crate::virtio::balloon::Balloon;
use crate::virtio::block::Block;
use crate::virtio::limiter::RateLimit;
use crate::virtio::net::{Net, NetConfig, Tap};
use crate::virtio::rng::Rng;
use crate::virtio::vsock::{Vsock, VsockConfig};
use crate::virtio::{GuestRam, MmioDevice, MmioTransport, NOTIFY_OFFSET, VirtioDevice};

/// vsock context id of every guest. Each guest has its own socket on the host, so the ids need not differ.
const GUEST_CID: u64 = 3;

/// Most vsock streams of one guest at the same time. Each proxied connection is one stream, and a stream costs the host
/// a descriptor and some KiB.
const VSOCK_STREAMS_MAX: usize = 1024;

/// Largest packet of a network card in bytes, that of Ethernet.
const MTU: u16 = 1500;

/// All devices of a machine.
pub struct Devices {
    /// virtio devices in the order of their windows.
    pub(super) virtio: Vec<Arc<dyn MmioDevice>>,
    /// The writable disks among them, in order.
    pub(super) writable: Vec<WritableDisk>,
    /// The vsock device.
    pub(super) vsock: Option<Arc<MmioTransport<Vsock>>>,
    /// The balloon.
    pub(super) balloon: Option<Arc<MmioTransport<Balloon>>>,
    /// The serial port.
    pub(super) serial: Option<Arc<SerialPort>>,
    /// Overlay files that were created for this machine.
    overlays: NewOverlays,
}

impl Devices {
    /// Keeps the overlay files when the devices are dropped. Called when the machine is complete.
    pub(super) fn keep_overlays(&mut self) {
        self.overlays.keep();
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.virtio.iter().map(|device| device.name()))
            .finish()
    }
}

/// The saved device states of the machine that is restored.
#[derive(Debug, Clone, Copy)]
pub(super) struct SavedDevices<'a> {
    /// States of the virtio devices, by position.
    pub(super) virtio: &'a [super::SavedDevice],
    /// Registers of the serial port.
    pub(super) serial: Option<&'a PortState>,
}

/// Names of the devices that `spec` asks for, in order.
pub(super) fn names(spec: &DeviceSpec) -> Vec<String> {
    let disks = spec
        .disks
        .iter()
        .map(|disk| format!("block:{}", disk.serial));
    let nets = (0..spec.nets.len()).map(|index| format!("net:{index}"));
    let vsock = spec.vsock.as_ref().map(|_| "vsock".to_owned());
    let balloon = spec.balloon.then(|| "balloon".to_owned());
    disks
        .chain(nets)
        .chain(vsock)
        .chain(balloon)
        .chain(["rng".to_owned()])
        .collect()
}

/// Creates the devices of `spec`. With `saved`, restores their states.
pub(super) fn build(
    spec: &DeviceSpec,
    saved: Option<SavedDevices<'_>>,
    memory: &GuestRam,
    vm: &VmFd,
    wiring: Wiring<'_>,
) -> Result<Devices, DeviceError> {
    let names = names(spec);
    if names.len() > layout::VIRTIO_DEVICES_MAX {
        return Err(DeviceError::TooMany(names.len()));
    }
    let serial = build_serial(spec, saved, vm)?;
    let mut builder = Builder {
        devices: Devices {
            virtio: Vec::with_capacity(names.len()),
            writable: Vec::new(),
            vsock: None,
            balloon: None,
            serial,
            overlays: NewOverlays::default(),
        },
        first_net: spec.disks.len(),
        names,
        memory,
        vm,
        wiring,
    };
    for (index, disk) in spec.disks.iter().enumerate() {
        builder.add_disk(disk, saved.and_then(|saved| saved.virtio.get(index)))?;
    }
    for net in &spec.nets {
        builder.add_net(net)?;
    }
    if let Some(vsock) = &spec.vsock {
        builder.add_vsock(vsock)?;
    }
    if spec.balloon {
        builder.devices.balloon = Some(builder.add(Balloon::new())?);
    }
    builder.add(Rng::new())?;
    Ok(builder.devices)
}

/// Creates the serial port. A fresh machine has it if its log is asked for; a restored one if it had it when it was
/// saved.
fn build_serial(
    spec: &DeviceSpec,
    saved: Option<SavedDevices<'_>>,
    vm: &VmFd,
) -> Result<Option<Arc<SerialPort>>, DeviceError> {
    let state = saved.and_then(|saved| saved.serial);
    let exists = match saved {
        Some(_) => state.is_some(),
        None => spec.serial_log.is_some(),
    };
    if !exists {
        return Ok(None);
    }
    let log = match &spec.serial_log {
        Some(log) => Log::open(log).map_err(DeviceError::SerialLog)?,
        None => Log::nowhere(),
    };
    let line = EventFd::new(EFD_NONBLOCK).map_err(DeviceError::EventFd)?;
    vm.register_irqfd(&line, layout::SERIAL_GSI)
        .map_err(|source| DeviceError::Connect {
            name: "serial".into(),
            source,
        })?;
    Ok(Some(Arc::new(SerialPort::new(line, log, state))))
}

struct Builder<'a> {
    devices: Devices,
    /// Index of the first network card among the devices.
    first_net: usize,
    names: Vec<String>,
    memory: &'a GuestRam,
    vm: &'a VmFd,
    wiring: Wiring<'a>,
}

impl Builder<'_> {
    fn add_disk(
        &mut self,
        spec: &DiskSpec,
        saved: Option<&super::SavedDevice>,
    ) -> Result<(), DeviceError> {
        let config = block_config(spec, saved.map(|saved| &saved.state))?;
        if let DiskImage::Overlay { path, .. } = &spec.image {
            self.devices.overlays.add(path.clone());
        }
        let device = Block::open(config.clone()).map_err(|source| DeviceError::Disk {
            serial: spec.serial.clone(),
            source,
        })?;
        let device = self.add(device)?;
        if !config.read_only {
            self.devices.writable.push(WritableDisk { device, config });
        }
        Ok(())
    }

    fn add_net(&mut self, spec: &NetSpec) -> Result<(), DeviceError> {
        let index = self.devices.virtio.len() - self.first_net;
        let limit = spec.rate_limit.map_or_else(RateLimit::default, rate_limit);
        let tap = take_inherited(spec.tap_fd).ok_or(DeviceError::TapDescriptor {
            index,
            fd: spec.tap_fd,
        })?;
        let tap = Tap::new(tap).map_err(|source| DeviceError::Tap { index, source })?;
        let config = NetConfig {
            mac: spec.mac,
            mtu: MTU,
            rx_limit: limit,
            tx_limit: limit,
        };
        self.add(Net::new(config, tap))?;
        Ok(())
    }

    fn add_vsock(&mut self, spec: &VsockSpec) -> Result<(), DeviceError> {
        let config = VsockConfig {
            guest_cid: GUEST_CID,
            socket: spec.path.clone(),
            max_streams: VSOCK_STREAMS_MAX,
        };
        let vsock = Vsock::bind(config).map_err(DeviceError::Vsock)?;
        self.devices.vsock = Some(self.add(vsock)?);
        Ok(())
    }

    /// Puts a device into the next MMIO window and connects it to KVM.
    fn add<D: VirtioDevice + 'static>(
        &mut self,
        device: D,
    ) -> Result<Arc<MmioTransport<D>>, DeviceError> {
        let index = self.devices.virtio.len();
        let name = self.names[index].clone();
        // Below `VIRTIO_DEVICES_MAX`.
        let slot = index as u32;
        let transport = Arc::new(MmioTransport::new(
            name,
            device,
            self.memory.clone(),
            EventFd::new(EFD_NONBLOCK).map_err(DeviceError::EventFd)?,
            self.wiring.poller.registrar(slot),
            self.wiring.faults.clone(),
        )?);
        connect(self.vm, index as u64, transport.as_ref())?;
        self.devices.virtio.push(transport.clone());
        Ok(transport)
    }
}

/// Takes over a descriptor that the node left open for this process. Descriptors that the process opened
/// itself are close-on-exec, so a wrong number from the node cannot take one of those.
fn take_inherited(fd: i32) -> Option<OwnedFd> {
    /// Standard input, output and error.
    const STANDARD: i32 = 3;
    // SAFETY: asks for the flags of a number; one that is no descriptor is answered with an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if fd < STANDARD || flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: as above; from here on, it is not inherited by anybody else and not taken again.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the descriptor is open, and nothing in this process owns it: all that does is close-on-exec.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers interrupt and notifications with KVM.
fn connect(vm: &VmFd, index: u64, device: &dyn MmioDevice) -> Result<(), DeviceError> {
    let failed = |source| DeviceError::Connect {
        name: device.name().to_owned(),
        source,
    };
    let line = layout::VIRTIO_GSI + index as u32;
    vm.register_irqfd(device.irq_event(), line)
        .map_err(failed)?;
    let base = layout::VIRTIO_MMIO + index * layout::VIRTIO_MMIO_WINDOW;
    let notify = IoEventAddress::Mmio(base + NOTIFY_OFFSET);
    for (queue, event) in device.ioeventfds() {
        vm.register_ioevent(&event, &notify, u32::from(queue))
            .map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_order_of_the_windows() {
        let disk = |serial: &str| DiskSpec {
            serial: serial.into(),
            image: DiskImage::ReadOnly { path: "x".into() },
            rate_limit: None,
            is_replaced: false,
        };
        let spec = DeviceSpec {
            disks: vec![disk("base"), disk("scratch")],
            balloon: true,
            ..DeviceSpec::default()
        };
        assert_eq!(
            names(&spec),
            ["block:base", "block:scratch", "balloon", "rng"]
        );
    }
}
