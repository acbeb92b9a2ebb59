//! ioctls: the kernel's random generator, the size of an ext4, and KVM for one idle virtual machine.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// `RNDADDENTROPY`, `_IOW('R', 0x03, int[2])` (linux/random.h).
const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
/// `RNDRESEEDCRNG`, `_IO('R', 0x07)` (linux/random.h).
const RNDRESEEDCRNG: libc::Ioctl = 0x5207;
/// `EXT4_IOC_RESIZE_FS`, `_IOW('f', 16, __u64)` (linux/ext4.h).
const EXT4_IOC_RESIZE_FS: libc::Ioctl = 0x4008_6610;
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

/// Makes a mounted ext4 larger, to `blocks` blocks. `directory` is on it.
pub(crate) fn resize_ext4(directory: impl AsFd, blocks: u64) -> Result<(), Errno> {
    let directory = directory.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the 64-bit number behind the pointer, which lives until the call returns.
    check(unsafe { libc::ioctl(directory, EXT4_IOC_RESIZE_FS, &raw const blocks) })?;
    Ok(())
}

/// Creates an empty virtual machine that nobody uses.
pub(crate) fn create_idle_vm(kvm: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes the type of the machine as its argument; 0 is the default one.
    let fd = check(unsafe { libc::ioctl(kvm.as_fd().as_raw_fd(), KVM_CREATE_VM, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
