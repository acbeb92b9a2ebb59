//! The connection of a device to its driver (interrupts) and to the machine (faults).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use vmm_sys_util::eventfd::EventFd;

use super::fault::{DeviceFault, FaultCause, FaultSink};

/// The interrupt status bits of VIRTIO 1.3 section 4.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Interrupt {
    /// A used buffer was placed in some queue.
    UsedBuffer = 1,
    /// The configuration, or the device status, changed.
    Configuration = 2,
}

/// The connection of a device to its driver (interrupts) and to the machine (faults), shared by the transport, the
/// device and its worker.
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
    /// Creates a link. The machine registers `event` as irqfd; `name` is for fault records.
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

    /// Notifies the driver that the configuration space changed: raises the generation, then the interrupt.
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

    /// Marks the device as failed because of a fault on `queue`: asks the driver for a reset (VIRTIO 1.3 section 2.1.1)
    /// and records the fault for the machine. Only the first fault until the next reset is recorded, so a driver cannot
    /// keep the host busy with faults in a loop.
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

    /// Whether the device has failed and waits for a reset. It must not touch its queues until then.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    pub(super) fn set_failed(&self, failed: bool) {
        self.needs_reset.store(failed, Ordering::SeqCst);
    }
}
