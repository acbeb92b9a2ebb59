//! A machine that is running or paused.

use std::time::Instant;

use hearth_snapshot::Ram;
use hearth_wire::vmm::{EndReason, PageRange, Phase};
use kvm_ioctls::{Kvm, VmFd};

use super::devices::Devices;
use crate::prefetch;
use crate::vcpu::{self, Vcpus};
use crate::virtio::PollEvent;

/// A machine. Its vCPUs and devices are stopped together and started together.
#[derive(Debug)]
pub struct Machine {
    pub(super) kvm: Kvm,
    pub(super) vm: VmFd,
    pub(super) ram: Ram,
    /// Declared before the devices, so that it is dropped first: the vCPU threads share the devices.
    pub(super) vcpus: Vcpus,
    pub(super) devices: Devices,
    pub(super) phase: Phase,
    /// When the machine was paused; `None` while it runs.
    pub(super) paused_at: Option<Instant>,
    /// Duration of the last pause in microseconds.
    pub(super) last_pause_us: u64,
}

impl Machine {
    /// Creates a machine that is paused.
    pub(super) fn new(kvm: Kvm, vm: VmFd, ram: Ram, devices: Devices, vcpus: Vcpus) -> Self {
        let phase = Phase::Paused;
        Self {
            kvm,
            vm,
            ram,
            devices,
            vcpus,
            phase,
            paused_at: None,
            last_pause_us: 0,
        }
    }

    /// Whether the machine is running or paused.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Stops the vCPUs, then the devices. `Err` if the guest ended before it could be stopped.
    pub fn pause(&mut self) -> Result<(), EndReason> {
        if self.phase == Phase::Paused {
            return Ok(());
        }
        self.paused_at = Some(Instant::now());
        let ended = self.vcpus.pause();
        for device in &self.devices.virtio {
            device.pause();
        }
        self.phase = Phase::Paused;
        ended.map_or(Ok(()), Err)
    }

    /// Starts the devices, then the vCPUs.
    pub fn resume(&mut self) {
        if self.phase == Phase::Running {
            return;
        }
        for device in &self.devices.virtio {
            device.resume();
        }
        if let Some(since) = self.paused_at.take() {
            self.last_pause_us = elapsed_us(since);
            self.vcpus.held().for_each(vcpu::tell_of_pause);
        }
        self.vcpus.resume();
        self.phase = Phase::Running;
    }

    /// Microseconds since the machine was paused; 0 while it runs.
    pub fn paused_us(&self) -> u64 {
        self.paused_at.map_or(0, elapsed_us)
    }

    /// Duration of the last pause in microseconds.
    pub fn last_pause_us(&self) -> u64 {
        self.last_pause_us
    }

    /// Passes an event to the device of its slot.
    pub fn on_device_event(&self, event: PollEvent) {
        if let Some(device) = self.devices.virtio.get(event.slot as usize) {
            device.on_event(event);
        }
    }

    /// Whether a vCPU stopped by itself, and why.
    pub fn take_ended(&mut self) -> Option<EndReason> {
        self.vcpus.take_ended()
    }

    /// Bytes of guest memory that are private to this process.
    pub fn private_guest_bytes(&self) -> u64 {
        let pages = self.ram.private_pages().unwrap_or_default();
        pages
            .iter()
            .map(|range| range.end - range.start)
            .sum::<u64>()
            * hearth_snapshot::PAGE_BYTES
    }

    /// Pages of guest memory that were touched since the machine was built, as a short list of ranges.
    pub fn touched_pages(&self) -> std::io::Result<Vec<PageRange>> {
        Ok(prefetch::list(&self.ram.mapped_pages()?))
    }

    /// Number of open streams of the vsock device.
    pub fn vsock_streams(&self) -> u64 {
        self.devices
            .vsock
            .as_ref()
            .map_or(0, |vsock| vsock.with_device(|v| v.streams()) as u64)
    }

    /// Sets the target of the balloon: the MiB that the guest is asked to give up in all. `false` if there is no
    /// balloon.
    pub fn set_balloon(&self, target_mib: u32) -> bool {
        let balloon = self.devices.balloon.as_ref();
        balloon
            .map(|balloon| balloon.with_device(|b| b.set_target_mib(target_mib)))
            .is_some()
    }

    /// Writes the guest's last, incomplete line to the serial log.
    pub fn flush_serial(&self) {
        if let Some(serial) = &self.devices.serial {
            serial.flush();
        }
    }

    /// Address of guest RAM in this process, and its size in bytes.
    pub fn ram_range(&self) -> (usize, u64) {
        (self.ram.host_base(), self.ram.bytes())
    }
}

/// Microseconds since `since`.
pub(super) fn elapsed_us(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
