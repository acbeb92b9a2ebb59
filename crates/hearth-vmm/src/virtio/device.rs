//! What a device is to its transport, and what the transport gives to a running device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

use super::fault::{DeviceFault, FaultCause, FaultSink};
use super::poller::{PollEvent, Registrar};
use super::queue::VirtioQueue;
use super::state::{DeviceBody, RestoreBodyError};

/// Guest memory as every device sees it. A clone shares the mappings.
pub type GuestRam = vm_memory::GuestMemoryMmap<()>;

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

/// The interrupt status bits of VIRTIO 1.3 section 4.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Interrupt {
    /// A used buffer was placed in some queue.
    UsedBuffer = 1,
    /// The configuration, or the device status, changed.
    Configuration = 2,
}

/// The line from a device to its driver and to the machine, shared by the transport, the device
/// and its worker.
///
/// Everything here is atomic, so that the two registers which the guest reads and writes on every
/// interrupt never wait for a device that is busy.
#[derive(Debug)]
pub struct Link {
    name: String,
    event: EventFd,
    interrupt_status: AtomicU32,
    config_generation: AtomicU32,
    needs_reset: AtomicBool,
    faults: FaultSink,
}

impl Link {
    /// `event` is what the machine registers as irqfd; `name` is for fault records.
    #[must_use]
    pub fn new(name: String, event: EventFd, faults: FaultSink) -> Arc<Self> {
        Arc::new(Self {
            name,
            event,
            interrupt_status: AtomicU32::new(0),
            config_generation: AtomicU32::new(0),
            needs_reset: AtomicBool::new(false),
            faults,
        })
    }

    /// The device's name in records (`"block:base"`, `"vsock"`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The eventfd that becomes the guest's interrupt.
    #[must_use]
    pub fn event(&self) -> &EventFd {
        &self.event
    }

    /// Sets the status bit, then raises the interrupt.
    pub fn interrupt(&self, cause: Interrupt) {
        self.interrupt_status
            .fetch_or(cause as u32, Ordering::SeqCst);
        // The counter cannot overflow: the kernel consumes an irqfd's counter at once, and
        // without a kernel behind it (tests) a full counter is as good as a raised one.
        let _ = self.event.write(1);
    }

    /// Value of the InterruptStatus register.
    #[must_use]
    pub fn interrupt_status(&self) -> u32 {
        self.interrupt_status.load(Ordering::SeqCst)
    }

    /// InterruptACK register: clears the given bits.
    pub fn acknowledge(&self, bits: u32) {
        self.interrupt_status.fetch_and(!bits, Ordering::SeqCst);
    }

    /// The configuration space changed: new generation, then the interrupt.
    pub fn config_changed(&self) {
        self.config_generation.fetch_add(1, Ordering::SeqCst);
        self.interrupt(Interrupt::Configuration);
    }

    /// Value of the ConfigGeneration register.
    #[must_use]
    pub fn config_generation(&self) -> u32 {
        self.config_generation.load(Ordering::SeqCst)
    }

    pub(super) fn set_config_generation(&self, generation: u32) {
        self.config_generation.store(generation, Ordering::SeqCst);
    }

    pub(super) fn set_interrupt_status(&self, bits: u32) {
        self.interrupt_status.store(bits, Ordering::SeqCst);
    }

    /// The driver broke the rules on `queue`: ask it for a reset (VIRTIO 1.3 section 2.1.1) and
    /// tell the machine. Only the first fault until the next reset is recorded, so a driver
    /// cannot make the host work by being wrong in a loop.
    pub fn fail(&self, queue: u16, cause: FaultCause) {
        if self.needs_reset.swap(true, Ordering::SeqCst) {
            return;
        }
        self.interrupt(Interrupt::Configuration);
        self.faults.record(DeviceFault {
            device: self.name.clone(),
            queue,
            cause,
        });
    }

    /// Whether the device waits for a reset. A device that does must not touch its queues.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    pub(super) fn set_failed(&self, failed: bool) {
        self.needs_reset.store(failed, Ordering::SeqCst);
    }
}

/// Serves a configuration read from the bytes of the device's structure; zero beyond its end.
pub(super) fn read_config_bytes(config: &[u8], offset: usize, data: &mut [u8]) {
    data.fill(0);
    let available = config.get(offset..).unwrap_or_default();
    let count = available.len().min(data.len());
    data[..count].copy_from_slice(&available[..count]);
}

/// What a device gets when its driver is ready (DRIVER_OK), and again after each pause.
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

    /// Takes over device-specific state. Called on a new device, before `start`.
    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError>;

    /// Whether the configuration space is another one than when the state was saved that the device was restored from. The
    /// driver is then told.
    fn has_new_config(&self) -> bool {
        false
    }
}
