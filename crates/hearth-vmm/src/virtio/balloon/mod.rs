//! Memory balloon (VIRTIO 1.3 section 5.5) with free page reporting.
//!
//! The host asks for memory with a target ([`Balloon::set_target_mib`]); the driver takes pages out of
//! use and names them on the inflate queue. With free page reporting the driver names pages
//! that happen to be free, without being asked. Either way they go back to the host; see
//! `discard.rs` for what that means for their contents. A guest short of memory takes
//! pages back by itself (DEFLATE_ON_OOM).

mod device;
mod discard;

pub use device::Balloon;
