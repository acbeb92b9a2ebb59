//! The interface between a device and its transport.

use std::sync::Arc;

use thiserror::Error;

use super::link::Link;
use super::poller::{PollEvent, Registrar};
use super::queue::VirtioQueue;
use super::ram::GuestRam;
use super::state::{DeviceBody, RestoreBodyError};

/// VIRTIO 1.3 section 5: device IDs of the devices that Hearth has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum DeviceKind {
    /// Network card (5.1).
    Net = 1,
    /// Block device (5.2).
    Block = 2,
    /// Entropy source (5.4).
    Rng = 4,
    /// Memory balloon (5.5).
    Balloon = 5,
    /// Socket device (5.10).
    Vsock = 19,
}

/// Serves a configuration read from the bytes of the device's structure; zero beyond its end.
pub(super) fn read_config_bytes(config: &[u8], offset: usize, data: &mut [u8]) {
    data.fill(0);
    let available = config.get(offset..).unwrap_or_default();
    let count = available.len().min(data.len());
    data[..count].copy_from_slice(&available[..count]);
}

/// The resources that a device gets when its driver is ready (DRIVER_OK), and again after each pause.
#[derive(Debug)]
pub struct Activation {
    /// Guest memory.
    pub ram: GuestRam,
    /// One entry for each of [`VirtioDevice::queue_sizes`]; a queue that the driver left
    /// unconfigured has `is_ready() == false` and must be left alone. Owned by the device until
    /// [`VirtioDevice::stop`].
    pub queues: Vec<VirtioQueue>,
    /// Features that both sides accepted.
    pub features: u64,
    /// Interrupts and faults.
    pub link: Arc<Link>,
    /// Where the device registers descriptors of its own with the machine's event loop. The
    /// queues' notification descriptors are registered already.
    pub registrar: Registrar,
}

/// Why a device could not start.
#[derive(Debug, Error)]
pub enum ActivateError {
    /// A descriptor could not be registered with the event loop.
    #[error("register a descriptor with the event loop")]
    Register(#[source] std::io::Error),
    /// A host object that the device needs could not be made.
    #[error("create {what}")]
    Create {
        /// Which object.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A virtio device, without its transport.
///
/// Calls come from one thread at a time (the transport holds a lock), in the order
/// `start (on_kick | on_event)* stop`. Nothing here may block for longer than a bounded
/// disk request: the caller may be a vCPU or the machine's event loop.
pub trait VirtioDevice: Send {
    /// The device's ID.
    fn kind(&self) -> DeviceKind;

    /// Feature bits offered, without the transport's own (VERSION_1 and RING_EVENT_IDX, which the
    /// transport adds).
    fn features(&self) -> u64;

    /// Maximum size of each queue, a power of two. The length of the slice is the number of queues.
    fn queue_sizes(&self) -> &'static [u16];

    /// Queues that get an ioeventfd, as a bit mask. The others are notified through a register
    /// write, which costs an exit to user space but no kernel object; right for queues that are
    /// used a few times in a machine's life.
    fn fast_queues(&self) -> u16 {
        !0
    }

    /// Reads the configuration space at `offset`. Bytes beyond its end read as zero.
    fn read_config(&self, offset: usize, data: &mut [u8]);

    /// Writes the configuration space. Most devices have nothing writable.
    fn write_config(&mut self, _offset: usize, _data: &[u8]) {}

    /// Takes the queues. The transport notifies each queue that has buffers waiting after this
    /// returns, so a restored or resumed device picks up where it stopped by itself.
    fn start(&mut self, activation: Activation) -> Result<(), ActivateError>;

    /// The driver notified queue `index`, or [`VirtioQueue::kick`] was called. Runs on the event
    /// loop; must do a bounded amount of work and kick the queue again for the rest.
    fn on_kick(&mut self, index: u16);

    /// One of the device's own descriptors is ready. May be spurious.
    fn on_event(&mut self, _event: PollEvent) {}

    /// Quiesces: finishes or returns what is in flight, removes the device's own descriptors from
    /// the event loop, ends its worker and hands the queues back in their order. Host-side state
    /// (connections, files) stays, so that [`VirtioDevice::start`] goes on where this left.
    fn stop(&mut self) -> Vec<VirtioQueue>;

    /// Forgets everything the driver did. Called stopped, on a status write of 0.
    fn reset(&mut self);

    /// Device-specific part of the saved state. Called stopped.
    fn save(&self) -> DeviceBody;

    /// Restores device-specific state. Called on a new device, before `start`.
    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError>;

    /// Whether the configuration space differs from that of the saved state. The transport then notifies the driver.
    fn has_new_config(&self) -> bool {
        false
    }
}
