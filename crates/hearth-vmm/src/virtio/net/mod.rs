//! Network card (VIRTIO 1.3 section 5.1) on a TAP.
//!
//! Frames go between guest memory and the TAP in one system call each, with their virtio header,
//! which the kernel understands as it is. Towards the host the guest may leave checksums and
//! segmentation to the kernel; towards the guest the kernel does both, so that receive buffers stay small.

mod device;
mod offload;
mod tap;

pub use device::{Net, NetConfig};
pub use tap::{Tap, TapError};
