//! The lifecycle of a device, which moves the ownership of its queues: start, stop, pause, save, restore.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bindings::bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
};
use virtio_bindings::bindings::virtio_mmio as reg;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::chain::QueueError;
use super::super::device::{Activation, DeviceKind, VirtioDevice};
use super::super::fault::{FaultCause, FaultSink};
use super::super::link::{Interrupt, Link};
use super::super::poller::{DEVICE_TOKENS, PollEvent, Registrar};
use super::super::queue::VirtioQueue;
use super::super::ram::GuestRam;
use super::super::state::{DeviceState, QueueImage, TransportState};
use super::interface::{MmioDevice, RestoreError, TransportError};

/// Status bits that belong to the driver.
pub(super) const DRIVER_STATUS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_FAILED;

/// The transport around device `D`.
pub struct MmioTransport<D> {
    pub(super) link: Arc<Link>,
    pub(super) registrar: Registrar,
    pub(super) ram: GuestRam,
    pub(super) kind: DeviceKind,
    /// One for each queue. Outside the lock, so that a notification never waits for the device.
    pub(super) kicks: Vec<Arc<EventFd>>,
    pub(super) inner: Mutex<Inner<D>>,
}

/// The state that the lock protects.
pub(super) struct Inner<D> {
    pub(super) device: D,
    pub(super) status: u32,
    pub(super) driver_features: u64,
    pub(super) device_features_sel: u32,
    pub(super) driver_features_sel: u32,
    pub(super) queue_sel: u32,
    pub(super) queues: Vec<QueueImage>,
    pub(super) run: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// The device has no queues: it was not started, or was stopped.
    Idle,
    /// The device has the queues.
    Running,
    /// Paused by the machine.
    Held,
}

impl<D: VirtioDevice> MmioTransport<D> {
    /// Creates the transport of a device whose driver has not started yet. `irq` becomes the guest's interrupt; `name`
    /// is for fault records.
    pub fn new(
        name: String,
        device: D,
        ram: GuestRam,
        irq: EventFd,
        registrar: Registrar,
        faults: FaultSink,
    ) -> Result<Self, TransportError> {
        let kicks = device
            .queue_sizes()
            .iter()
            .map(|_| EventFd::new(EFD_NONBLOCK).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(TransportError::EventFd)?;
        debug_assert!(kicks.len() <= DEVICE_TOKENS as usize);
        Ok(Self {
            link: Link::new(name, irq, faults),
            registrar,
            ram,
            kind: device.kind(),
            kicks,
            inner: Mutex::new(Inner {
                queues: fresh_queues(&device),
                device,
                status: 0,
                driver_features: 0,
                device_features_sel: 0,
                driver_features_sel: 0,
                queue_sel: 0,
                run: Run::Idle,
            }),
        })
    }

    /// Runs a request of the machine on the device (balloon target, disk sealing, counters).
    pub fn with_device<R>(&self, request: impl FnOnce(&mut D) -> R) -> R {
        request(&mut self.lock().device)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<D>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self, inner: &mut Inner<D>) {
        if !inner.may_run() || self.link.is_failed() {
            return;
        }
        if let Err((index, cause)) = self.try_start(inner) {
            self.unregister();
            self.link.fail(index, cause);
        }
    }

    fn try_start(&self, inner: &mut Inner<D>) -> Result<(), (u16, FaultCause)> {
        let sizes = inner.device.queue_sizes();
        let mut queues = Vec::with_capacity(sizes.len());
        let mut waiting = Vec::new();
        for (index, max_size) in (0..).zip(sizes) {
            let fault = |error: QueueError| (index, FaultCause::from(error));
            let queue = self.build_queue(inner, index, *max_size).map_err(fault)?;
            let kick = &self.kicks[usize::from(index)];
            if queue.is_ready() {
                self.registrar
                    .add(kick.as_raw_fd(), u32::from(index), EventSet::IN)
                    .map_err(|error| (index, FaultCause::Host(error.to_string())))?;
                if queue.has_pending(&self.ram).map_err(fault)? {
                    waiting.push(Arc::clone(kick));
                }
            }
            queues.push(queue);
        }
        let activation = Activation {
            ram: self.ram.clone(),
            queues,
            features: inner.driver_features,
            link: Arc::clone(&self.link),
            registrar: self.registrar.clone(),
        };
        inner
            .device
            .start(activation)
            .map_err(|error| (0, FaultCause::Host(error.to_string())))?;
        inner.run = Run::Running;
        for kick in waiting {
            let _ = kick.write(1);
        }
        Ok(())
    }

    /// Stops the device and takes its queues back. Notifications stay enabled in the rings, so that a later start only
    /// reads the available index and dirties no page of a fresh clone.
    pub(super) fn stop(&self, inner: &mut Inner<D>) {
        self.unregister();
        for mut queue in inner.device.stop() {
            if queue.is_ready() && !self.link.is_failed() {
                let _ = queue.rearm(&self.ram);
            }
            if let Some(image) = inner.queues.get_mut(usize::from(queue.index())) {
                (image.next_avail, image.next_used) = queue.position();
            }
        }
    }

    fn unregister(&self) {
        for kick in &self.kicks {
            self.registrar.remove(kick.as_raw_fd());
        }
    }

    pub(super) fn build_queue(
        &self,
        inner: &Inner<D>,
        index: u16,
        max_size: u16,
    ) -> Result<VirtioQueue, QueueError> {
        VirtioQueue::new(
            index,
            max_size,
            &inner.queues[usize::from(index)],
            inner.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0,
            &self.ram,
            Arc::clone(&self.kicks[usize::from(index)]),
            Arc::clone(&self.link),
        )
    }

    pub(super) fn failed_bit(&self) -> u32 {
        if self.link.is_failed() {
            VIRTIO_CONFIG_S_NEEDS_RESET
        } else {
            0
        }
    }

    fn check_state(&self, inner: &Inner<D>, state: &TransportState) -> Result<(), RestoreError> {
        if state.device_id != self.kind as u32 {
            let (saved, now) = (state.device_id, self.kind as u32);
            return Err(RestoreError::DeviceId { saved, now });
        }
        // Until FEATURES_OK the register is whatever the driver tried.
        let missing = state.driver_features & !inner.offered_features();
        if missing != 0 && state.status & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            return Err(RestoreError::Features(missing));
        }
        let (saved, now) = (state.queues.len(), inner.queues.len());
        if saved != now {
            return Err(RestoreError::QueueCount { saved, now });
        }
        Ok(())
    }
}

impl<D: VirtioDevice> MmioDevice for MmioTransport<D> {
    fn name(&self) -> &str {
        self.link.name()
    }

    fn kind(&self) -> DeviceKind {
        self.kind
    }

    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match u32::try_from(offset) {
            Ok(offset) if offset >= reg::VIRTIO_MMIO_CONFIG => {
                let offset = (offset - reg::VIRTIO_MMIO_CONFIG) as usize;
                self.lock().device.read_config(offset, data);
            }
            // Registers are 32 bits wide and aligned (VIRTIO 1.3 section 4.2.2.2).
            Ok(offset) => {
                if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
                    *word = self.read_register(offset).to_le_bytes();
                }
            }
            Err(_) => {}
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match u32::try_from(offset) {
            Ok(offset) if offset >= reg::VIRTIO_MMIO_CONFIG => {
                let offset = (offset - reg::VIRTIO_MMIO_CONFIG) as usize;
                self.lock().device.write_config(offset, data);
            }
            Ok(offset) => {
                if let Ok(word) = <[u8; 4]>::try_from(data) {
                    self.write_register(offset, u32::from_le_bytes(word));
                }
            }
            Err(_) => {}
        }
    }

    fn irq_event(&self) -> &EventFd {
        self.link.event()
    }

    fn ioeventfds(&self) -> Vec<(u16, Arc<EventFd>)> {
        let fast = self.lock().device.fast_queues();
        (0u16..)
            .zip(&self.kicks)
            .filter(|(index, _)| fast >> index & 1 == 1)
            .map(|(index, kick)| (index, Arc::clone(kick)))
            .collect()
    }

    fn on_event(&self, event: PollEvent) {
        if event.token < DEVICE_TOKENS {
            let Some(kick) = self.kicks.get(event.token as usize) else {
                return;
            };
            let _ = kick.read();
        }
        let mut inner = self.lock();
        if inner.run != Run::Running {
            return;
        }
        if event.token < DEVICE_TOKENS {
            inner.device.on_kick(event.token as u16);
        } else {
            inner.device.on_event(event);
        }
        // A device that failed must not be left with descriptors that keep the loop awake.
        if self.link.is_failed() {
            self.stop(&mut inner);
            inner.run = Run::Idle;
        }
    }

    fn pause(&self) {
        let mut inner = self.lock();
        if inner.run == Run::Running {
            self.stop(&mut inner);
        }
        inner.run = Run::Held;
    }

    fn save(&self) -> DeviceState {
        let inner = self.lock();
        debug_assert_eq!(inner.run, Run::Held);
        DeviceState {
            transport: TransportState {
                device_id: self.kind as u32,
                status: inner.status | self.failed_bit(),
                driver_features: inner.driver_features,
                device_features_sel: inner.device_features_sel,
                driver_features_sel: inner.driver_features_sel,
                queue_sel: inner.queue_sel,
                interrupt_status: self.link.interrupt_status(),
                config_generation: self.link.config_generation(),
                queues: inner.queues.clone(),
            },
            body: inner.device.save(),
        }
    }

    fn restore(&self, state: &DeviceState) -> Result<(), RestoreError> {
        let mut inner = self.lock();
        let transport = &state.transport;
        self.check_state(&inner, transport)?;
        inner.device.restore(&state.body)?;
        inner.driver_features = transport.driver_features;
        inner.device_features_sel = transport.device_features_sel;
        inner.driver_features_sel = transport.driver_features_sel;
        inner.queue_sel = transport.queue_sel;
        inner.queues.clone_from(&transport.queues);
        for (index, max_size) in (0..).zip(inner.device.queue_sizes()) {
            self.build_queue(&inner, index, *max_size)
                .map_err(|source| RestoreError::Queue { index, source })?;
        }
        inner.status = transport.status & DRIVER_STATUS;
        inner.run = Run::Held;
        self.link
            .set_failed(transport.status & VIRTIO_CONFIG_S_NEEDS_RESET != 0);
        let (mut interrupts, mut generation) =
            (transport.interrupt_status, transport.config_generation);
        if inner.device.has_new_config() {
            // The interrupt itself comes with the resume.
            interrupts |= Interrupt::Configuration as u32;
            generation = generation.wrapping_add(1);
        }
        self.link.set_interrupt_status(interrupts);
        self.link.set_config_generation(generation);
        Ok(())
    }

    fn resume(&self) {
        let mut inner = self.lock();
        if inner.run != Run::Held {
            return;
        }
        inner.run = Run::Idle;
        // An interrupt may have been on its way through irqfd when the vCPUs were saved.
        if self.link.interrupt_status() != 0 {
            let _ = self.link.event().write(1);
        }
        self.start(&mut inner);
    }
}

/// The state of the queues after a reset.
pub(super) fn fresh_queues(device: &impl VirtioDevice) -> Vec<QueueImage> {
    let fresh = |size: &u16| QueueImage {
        size: *size,
        ..QueueImage::default()
    };
    device.queue_sizes().iter().map(fresh).collect()
}
