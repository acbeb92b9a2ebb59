//! The few system calls without a safe wrapper in `rustix`; the only unsafe code of the agent.
//!
//! Everything here relies on one fact: *the agent has a single thread*. It starts none, and of tokio it uses
//! the current-thread runtime without the blocking pool. So after a fork the child may allocate, and nobody
//! else changes namespaces, signal masks or descriptors meanwhile.
#![allow(unsafe_code)]

pub(crate) mod interface;
pub(crate) mod ioctl;
pub(crate) mod process;
pub(crate) mod readiness;
pub(crate) mod signal;
pub(crate) mod veth;
pub(crate) mod vsock;

use std::io;

use rustix::io::Errno;

/// The error of the last system call made through `libc`.
fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Turns the return value of a `libc` call into a result.
fn check(result: libc::c_int) -> Result<libc::c_int, Errno> {
    if result < 0 {
        Err(last_error())
    } else {
        Ok(result)
    }
}
