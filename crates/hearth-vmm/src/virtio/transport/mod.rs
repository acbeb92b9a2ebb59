//! The MMIO transport (VIRTIO 1.3 section 4.2): registers, and the states of a device.
//!
//! ```text
//!            DRIVER_OK                      pause
//!   idle ------------------> running -------------------> held
//!    ^    (queues built)     |  |  ^       (queues back)   |
//!    |                       |  |  '-----------------------'
//!    '-- status = 0 ---------'  |            resume
//!    |   (queues back, reset)   | Link::fail (queues back at the next event)
//!    '-- status = 0 -------- failed: DEVICE_NEEDS_RESET, nothing runs
//! ```
//!
//! The transport stores queues as [`QueueImage`](super::QueueImage)s; a live `VirtioQueue` exists only between
//! start and stop, in the device. So what [`MmioDevice::save`] copies is complete by construction.

mod interface;
mod lifecycle;
mod registers;

pub use interface::{MMIO_LEN, MmioDevice, NOTIFY_OFFSET, RestoreError, TransportError};
pub use lifecycle::MmioTransport;
