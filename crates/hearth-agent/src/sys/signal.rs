//! Signals: sends them, and reports ended children through a descriptor.

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Signal;

use super::check;

/// Blocks SIGCHLD and returns a non-blocking descriptor that is readable when a child has ended.
pub(crate) fn child_events() -> Result<OwnedFd, Errno> {
    let set = child_signal_set();
    // SAFETY: `set` is a valid set; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) })?;
    // SAFETY: `set` is a valid set; -1 asks for a new descriptor.
    let fd = check(unsafe {
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The signal of this number, if it may be sent to a process: 32 and 33 belong to the C library.
pub(crate) fn from_number(number: i32) -> Option<Signal> {
    if !matches!(number, 1..=31 | 34..=64) {
        return None;
    }
    // SAFETY: the number is that of a signal, and not one that the C library keeps for itself.
    Some(unsafe { Signal::from_raw_unchecked(number) })
}

/// Sends a signal to every process but the agent (kill(2): pid -1 leaves the caller and PID 1 out).
pub(crate) fn send_to_all(signal: Signal) {
    // SAFETY: the call has no memory effects. It fails only when there is nobody to signal.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// Unblocks all signals and gives SIGPIPE, which Rust's runtime ignores, its default action back.
pub(super) fn restore_defaults() -> Result<(), Errno> {
    // SAFETY: the default action is no function of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: the set was initialised above; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()) })?;
    Ok(())
}

fn child_signal_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set and cannot fail on a valid pointer.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised above; SIGCHLD is a signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: initialised by `sigemptyset`.
    unsafe { set.assume_init() }
}
