//! Why a device could not be made.

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
    /// More than there are interrupt lines for.
    #[error("{0} devices were asked for, {max} are possible", max = layout::VIRTIO_DEVICES_MAX)]
    TooMany(usize),
    /// A disk does not open.
    #[error("disk {serial:?}")]
    Disk {
        /// Its serial.
        serial: String,
        /// The cause.
        #[source]
        source: BlockError,
    },
    /// A disk's size cannot be found out.
    #[error("disk {serial:?}: read the images below it")]
    Backing {
        /// Its serial.
        serial: String,
        /// The cause.
        #[source]
        source: ImageError,
    },
    /// A disk's overlay cannot be made.
    #[error("disk {serial:?}: make {path}")]
    Overlay {
        /// Its serial.
        serial: String,
        /// The overlay.
        path: PathBuf,
        /// The cause.
        #[source]
        source: OverlayError,
    },
    /// A network card's descriptor is none that this process was given.
    #[error("network card {index}: descriptor {fd} is not one that this process inherited")]
    TapDescriptor {
        /// Its number among the cards.
        index: usize,
        /// As asked for.
        fd: i32,
    },
    /// A network card's descriptor is no usable TAP.
    #[error("network card {index}")]
    Tap {
        /// Its number among the cards.
        index: usize,
        /// The cause.
        #[source]
        source: TapError,
    },
    /// The vsock device's socket.
    #[error("vsock")]
    Vsock(#[source] VsockError),
    /// The serial log cannot be opened.
    #[error("open the serial log")]
    SerialLog(#[source] io::Error),
    /// No eventfd.
    #[error("create an eventfd")]
    EventFd(#[source] io::Error),
    /// The transport could not be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The saved state does not fit the device.
    #[error("restore device {name}")]
    Restore {
        /// The device.
        name: String,
        /// The cause.
        #[source]
        source: RestoreError,
    },
    /// KVM does not take the eventfds.
    #[error("connect device {name} to KVM")]
    Connect {
        /// The device.
        name: String,
        /// The cause.
        #[source]
        source: kvm_ioctls::Error,
    },
}
