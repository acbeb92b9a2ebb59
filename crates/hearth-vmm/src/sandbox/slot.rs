//! Receives a slot that the node made ahead of time: the namespaces of the VMM, and the TAP of its network card.
//!
//! The descriptors arrive over the control socket before any request. If the process inherited them, the node would
//! have to fork, which costs a large node milliseconds.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use hearth_wire::vmm::{SLOT_MARK, SLOT_TAP_FD};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::SandboxError;

/// Namespaces of a slot: network, IPC, UTS.
pub(super) const NAMESPACES: usize = 3;

/// Receives the slot, moves the TAP to its agreed descriptor number, and answers the descriptors of the namespaces.
/// Nobody owns these: the sandbox closes them with all descriptors that are not to be kept.
pub fn receive_slot(control: BorrowedFd<'_>) -> Result<[RawFd; NAMESPACES], SandboxError> {
    let [namespaces @ .., tap] = receive(control).map_err(SandboxError::Slot)?;
    // Only a stray descriptor of the node could have moved one there; it is not worth a dance.
    let is_taken = |namespace: &OwnedFd| namespace.as_raw_fd() == SLOT_TAP_FD;
    if namespaces.iter().any(is_taken) {
        return Err(SandboxError::Slot(io::ErrorKind::AddrInUse.into()));
    }
    put_in_place(tap).map_err(SandboxError::Slot)?;
    Ok(namespaces.map(IntoRawFd::into_raw_fd))
}

fn receive(control: BorrowedFd<'_>) -> io::Result<[OwnedFd; NAMESPACES + 1]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(NAMESPACES + 1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut mark = [0];
    let mut buffers = [IoSliceMut::new(&mut mark)];
    rustix::net::recvmsg(control, &mut buffers, &mut ancillary, RecvFlags::empty())?;
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let descriptors: Vec<OwnedFd> = descriptors.collect();
    match descriptors.try_into() {
        Ok(descriptors) if mark == [SLOT_MARK] => Ok(descriptors),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the node sent something else",
        )),
    }
}

/// Moves the TAP to the descriptor number by which the first request names it.
fn put_in_place(tap: OwnedFd) -> io::Result<()> {
    if tap.as_raw_fd() == SLOT_TAP_FD {
        // Owned from here on by the request that names it.
        let _ = tap.into_raw_fd();
        return Ok(());
    }
    // SAFETY: replaces whatever was inherited under that number. This process has opened nothing yet but the namespaces, which
    // have other ones.
    let placed = unsafe { libc::dup2(tap.as_raw_fd(), SLOT_TAP_FD) };
    if placed < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
