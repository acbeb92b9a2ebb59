//! Block device (VIRTIO 1.3 section 5.2): a read-only image, or a writable qcow2 overlay over
//! sealed layers.
//!
//! ```text
//!   start            first notification           stop
//!  ------> parked -----------------------> working ------> stopped
//!          (queue here, no thread)         (queue and image in the worker)
//! ```
//!
//! While the device is stopped, images below its overlay can be folded into it ([`Block::fold`]), and its disk can be sealed ([`Block::seal`]): the overlay becomes an
//! immutable layer. The machine then ends (suspend) or puts a fresh overlay on top
//! ([`Block::stack`]) and goes on (fork).

mod device;
mod fold;
mod image;
mod overlay;
mod request;
mod worker;

pub use device::{Block, BlockConfig, BlockError, SealError};
pub use image::{DiskFormat, DiskLayer, ImageError, MAX_LAYERS, disk_size, drop_below_top};
pub use overlay::{OverlayError, create_overlay};
