//! The interface of every device to the bus, the event loop and snapshots.

use std::sync::Arc;

use thiserror::Error;
use virtio_bindings::bindings::virtio_mmio as reg;
use vmm_sys_util::eventfd::EventFd;

use super::super::chain::QueueError;
use super::super::device::DeviceKind;
use super::super::poller::PollEvent;
use super::super::state::{DeviceState, RestoreBodyError};

/// Bytes of MMIO space of one device: registers up to 0x100, then configuration space.
pub const MMIO_LEN: u64 = 0x1000;

/// Offset of QueueNotify, where ioeventfds are registered (with the queue index as datamatch,
/// 4 bytes).
pub const NOTIFY_OFFSET: u64 = reg::VIRTIO_MMIO_QUEUE_NOTIFY as u64;

/// A transport could not be built.
#[derive(Debug, Error)]
pub enum TransportError {
    /// An eventfd could not be made.
    #[error("create an eventfd")]
    EventFd(#[source] std::io::Error),
}

/// Why a saved state does not fit a device.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The state belongs to another kind of device.
    #[error("saved device has ID {saved}, this one {now}")]
    DeviceId {
        /// ID in the state.
        saved: u32,
        /// ID of this device.
        now: u32,
    },
    /// The driver uses features that this device does not offer.
    #[error("the driver uses features {0:#x} that are not offered any more")]
    Features(u64),
    /// The number of queues differs.
    #[error("saved device has {saved} queues, this one {now}")]
    QueueCount {
        /// Number in the state.
        saved: usize,
        /// Number of this device.
        now: usize,
    },
    /// The saved state of a queue is not valid.
    #[error("queue {index}")]
    Queue {
        /// Index of the queue.
        index: u16,
        /// The violation.
        #[source]
        source: QueueError,
    },
    /// The device-specific part does not fit.
    #[error("device state")]
    Body(#[from] RestoreBodyError),
}

/// A device on the bus, of any kind.
pub trait MmioDevice: Send + Sync {
    /// The device's name in records.
    fn name(&self) -> &str;

    /// The device's ID.
    fn kind(&self) -> DeviceKind;

    /// Serves a guest's read at `offset` in the device's window. Any offset and length is allowed; offsets without a
    /// register read as zero.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Serves a guest's write at `offset`. Invalid writes are ignored, as by hardware.
    fn write(&self, offset: u64, data: &[u8]);

    /// The eventfd to register as irqfd.
    fn irq_event(&self) -> &EventFd;

    /// Queue index and eventfd of each queue that gets an ioeventfd.
    fn ioeventfds(&self) -> Vec<(u16, Arc<EventFd>)>;

    /// Handles an event of this device's slot, on the machine's event loop.
    fn on_event(&self, event: PollEvent);

    /// Stops the device and takes its queues back. The vCPUs must be paused. Idempotent.
    fn pause(&self);

    /// Saves the state of a paused device.
    fn save(&self) -> DeviceState;

    /// Restores a saved state. The device is paused afterwards: call [`MmioDevice::resume`].
    fn restore(&self, state: &DeviceState) -> Result<(), RestoreError>;

    /// Starts the device again if its driver had it running, and notifies it of waiting
    /// buffers. Raises the interrupt again if the driver had not acknowledged it.
    fn resume(&self);
}
