//! The error type for devices that could not be created.

use std::io;
use std::path::PathBuf;

use crate::arch::x86_64::layout;
use crate::virtio::block::{BlockError, ImageError, OverlayError};
use crate::virtio::net::TapError;
use crate::virtio::vsock::VsockError;
use crate::virtio::{RestoreError, TransportError};

/// Why a device could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// More devices were asked for than there are interrupt lines.
    #[error("{0} devices were asked for, {max} are possible", max = layout::VIRTIO_DEVICES_MAX)]
    TooMany(usize),
    /// A disk does not open.
    #[error("disk {serial:?}")]
    Disk {
        /// Serial of the disk.
        serial: String,
        /// The cause.
        #[source]
        source: BlockError,
    },
    /// The images below a disk could not be read, so its size is unknown.
    #[error("disk {serial:?}: read the images below it")]
    Backing {
        /// Serial of the disk.
        serial: String,
        /// The cause.
        #[source]
        source: ImageError,
    },
    /// A disk's overlay could not be created.
    #[error("disk {serial:?}: make {path}")]
    Overlay {
        /// Serial of the disk.
        serial: String,
        /// Path of the overlay.
        path: PathBuf,
        /// The cause.
        #[source]
        source: OverlayError,
    },
    /// The descriptor for a network card is not one that this process inherited.
    #[error("network card {index}: descriptor {fd} is not one that this process inherited")]
    TapDescriptor {
        /// Index of the network card.
        index: usize,
        /// Number of the descriptor.
        fd: i32,
    },
    /// The descriptor for a network card is not a usable TAP.
    #[error("network card {index}")]
    Tap {
        /// Index of the network card.
        index: usize,
        /// The cause.
        #[source]
        source: TapError,
    },
    /// The socket of the vsock device could not be made.
    #[error("vsock")]
    Vsock(#[source] VsockError),
    /// The serial log cannot be opened.
    #[error("open the serial log")]
    SerialLog(#[source] io::Error),
    /// An eventfd could not be created.
    #[error("create an eventfd")]
    EventFd(#[source] io::Error),
    /// The MMIO transport could not be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The saved state does not fit the device.
    #[error("restore device {name}")]
    Restore {
        /// Name of the device.
        name: String,
        /// The cause.
        #[source]
        source: RestoreError,
    },
    /// KVM refused to register the device's eventfds.
    #[error("connect device {name} to KVM")]
    Connect {
        /// Name of the device.
        name: String,
        /// The cause.
        #[source]
        source: kvm_ioctls::Error,
    },
}
