//! The host's end of a network card: a TAP descriptor, which the node made.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use thiserror::Error;

use super::super::chain::Buffers;
use super::super::vectors::Vectors;

/// struct virtio_net_hdr_v1 (VIRTIO 1.3 section 5.1.6): what precedes each frame on the queues,
/// and, as set up here, on the TAP.
pub(super) const HEADER_LEN: usize = 12;

/// Why a descriptor cannot be a card's host end.
#[derive(Debug, Error)]
pub enum TapError {
    /// Not a TAP, or one without IFF_VNET_HDR.
    #[error("set the header length of the TAP")]
    HeaderLen(#[source] io::Error),
    /// The kernel refused to do checksums and segmentation towards the guest.
    #[error("switch off the TAP's offloads")]
    Offload(#[source] io::Error),
    /// The descriptor could not be made nonblocking.
    #[error("make the TAP nonblocking")]
    Nonblocking(#[source] io::Error),
}

/// An open TAP that carries frames behind a 12-byte virtio header.
#[derive(Debug)]
pub struct Tap(OwnedFd);

impl Tap {
    /// Sets up a descriptor of /dev/net/tun that was attached with
    /// `IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`.
    pub fn new(fd: OwnedFd) -> Result<Self, TapError> {
        let len = HEADER_LEN as libc::c_int;
        // SAFETY: TUNSETVNETHDRSZ reads one int behind the pointer, which is a live local; on any
        // descriptor that is no TAP the kernel answers ENOTTY.
        let set = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) };
        check(set).map_err(TapError::HeaderLen)?;
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        let set = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, 0) };
        check(set).map_err(TapError::Offload)?;
        Self::configured(fd)
    }

    /// Wraps a descriptor that already carries one frame with its header in each read and write.
    pub fn configured(fd: OwnedFd) -> Result<Self, TapError> {
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(|e| TapError::Nonblocking(e.into()))?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
            .map_err(|e| TapError::Nonblocking(e.into()))?;
        Ok(Self(fd))
    }

    /// Reads one frame with its header.
    pub(super) fn receive(&self, buffers: &Buffers<'_>) -> io::Result<usize> {
        let mut vectors = Vectors::new(buffers.slices().len());
        vectors.guest(buffers);
        vectors.read(self.0.as_fd())
    }

    /// Writes one frame.
    pub(super) fn send(&self, header: &[u8; HEADER_LEN], frame: &Buffers<'_>) -> io::Result<usize> {
        let mut vectors = Vectors::new(frame.slices().len() + 1);
        vectors.guest(frame);
        vectors.write(self.0.as_fd(), header)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
