//! virtio devices behind the MMIO transport (VIRTIO 1.3 section 4.2, version 2 only).
//!
//! ```text
//!   vCPU threads            machine's event loop               block workers
//!        | MMIO exit             | Poller::wait                     | own poll
//!        v                       v                                  v
//!   MmioDevice::read/write   MmioDevice::on_event            VirtioQueue (owned)
//!        \_______________________/                                  |
//!                   MmioTransport<D>  --- start(queues) -->  D  ----'
//!                   (registers, queue  <-- stop() queues --
//!                    addresses, state)
//! ```
//!
//! The one rule everything follows: **whoever runs a queue owns it.** `MmioTransport` owns the
//! queues while the driver configures them; [`VirtioDevice::start`] gives them away,
//! [`VirtioDevice::stop`] brings them back. A device that is stopped has no thread and no request
//! in flight, so "save" is only a copy of plain data. Pause, reset, snapshot and fork are all
//! built from stop and start.
//!
//! # How the machine uses this
//!
//! 1. One [`Poller`] for the machine; one [`FaultSink`] for all devices.
//! 2. For each device: build `D` (`Block::open`, `Vsock::new`, ...), then
//!    [`MmioTransport::new`] in an `Arc`; register `irq_event()` with irqfd and each of
//!    `ioeventfds()` at `base + NOTIFY_OFFSET` with datamatch. Put it on the bus as
//!    `Arc<dyn MmioDevice>`; keep the typed `Arc` where device requests are needed
//!    ([`MmioTransport::with_device`]: balloon target, disk sealing, vsock metrics).
//! 3. Loop: [`Poller::wait`], and for every [`PollEvent`] whose slot is a device's,
//!    `device.on_event(event)`.
//! 4. Snapshot: pause vCPUs, `pause()` each device, `save()`, then `resume()` (fork) or drop
//!    (suspend). Restore: new transport, `restore(state)`, `resume()`.
//!
//! The guest is hostile. Descriptor chains are checked before anything in them is used
//! ([`chain`]); a device whose driver breaks the rules asks for a reset (DEVICE_NEEDS_RESET),
//! stops working and leaves a [`DeviceFault`] for the machine to judge.

pub mod chain;
pub mod device;
pub mod fault;
pub mod limiter;
pub mod link;
pub mod poller;
pub mod queue;
pub mod ram;
pub mod state;
pub mod transport;
mod vectors;

pub mod balloon;
pub mod block;
pub mod net;
pub mod rng;
pub mod vsock;

// Fuzzing uses a part of it.
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code))]
mod driver;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(test)]
mod tests;

pub use device::{ActivateError, Activation, DeviceKind, VirtioDevice};
pub use fault::{DeviceFault, FaultCause, FaultSink};
pub use link::Link;
pub use poller::{PollEvent, Poller, Registrar};
pub use ram::GuestRam;
pub use state::{DeviceBody, DeviceState, QueueImage, STATE_VERSION, TransportState};
pub use transport::{
    MMIO_LEN, MmioDevice, MmioTransport, NOTIFY_OFFSET, RestoreError, TransportError,
};
