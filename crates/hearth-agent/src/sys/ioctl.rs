//! ioctls on devices: the kernel's random generator, and KVM for one idle virtual machine.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// `RNDADDENTROPY`, `_IOW('R', 0x03, int[2])` (linux/random.h).
const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
/// `RNDRESEEDCRNG`, `_IO('R', 0x07)` (linux/random.h).
const RNDRESEEDCRNG: libc::Ioctl = 0x5207;
/// `KVM_CREATE_VM`, `_IO(0xAE, 0x01)` (linux/kvm.h).
const KVM_CREATE_VM: libc::Ioctl = 0xAE01;

/// `struct rand_pool_info` (linux/random.h) with 32 bytes.
#[repr(C)]
struct RandomPool {
    entropy_bits: libc::c_int,
    bytes: libc::c_int,
    pool: [u8; 32],
}

/// Mixes `entropy` into the kernel's generator and credits all its bits.
pub(crate) fn add_entropy(random: impl AsFd, entropy: &[u8; 32]) -> Result<(), Errno> {
    let pool = RandomPool {
        entropy_bits: 256,
        bytes: 32,
        pool: *entropy,
    };
    // SAFETY: the kernel reads the header and the `bytes` bytes that follow it, all of which `pool` holds.
    check(unsafe { libc::ioctl(random.as_fd().as_raw_fd(), RNDADDENTROPY, &raw const pool) })?;
    Ok(())
}

/// Makes the kernel's generator reseed from its pool at once.
pub(crate) fn reseed(random: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(random.as_fd().as_raw_fd(), RNDRESEEDCRNG, 0) })?;
    Ok(())
}

/// Creates an empty virtual machine that nobody uses.
pub(crate) fn create_idle_vm(kvm: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes the type of the machine as its argument; 0 is the default one.
    let fd = check(unsafe { libc::ioctl(kvm.as_fd().as_raw_fd(), KVM_CREATE_VM, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
