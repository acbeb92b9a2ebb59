//! Fork, exec and namespaces.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process;
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::{check, last_error, signal};

/// Aborts the process if a child's closure unwinds: the stack frames above it are the parent's.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}

/// Forks. The child runs `child` and exits with the returned code, without running destructors of the parent's values.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: the process has one thread (module docs), so the child finds every lock and the allocator
    // in a consistent state.
    let result = unsafe { libc::fork() };
    let pid = check(result)?;
    if let Some(pid) = Pid::from_raw(pid) {
        return Ok(pid);
    }
    let unwinding = AbortOnUnwind;
    let code = child();
    std::mem::forget(unwinding);
    // SAFETY: `_exit` only ends this process; exit handlers belong to the parent and do not run.
    unsafe { libc::_exit(code) }
}

/// Executes a program. Returns only on failure.
///
/// Signal dispositions are reset for the new program: none blocked, SIGPIPE kills.
pub(crate) fn exec(path: &CString, argv: &[CString], env: &[CString]) -> Errno {
    if let Err(error) = signal::restore_defaults() {
        return error;
    }
    let argv = null_terminated(argv);
    let env = null_terminated(env);
    // SAFETY: both arrays end with a null pointer and point to strings that live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_error()
}

fn null_terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Gives this thread (in a child: this process) new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: the descriptor table is not unshared, which is the one thing that the function warns of.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Closes every descriptor above stderr but those of `kept`.
///
/// For children that live on without an exec: they must not hold the agent's sockets open.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = kept
        .iter()
        .filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok())
        .filter(|fd| *fd > 2)
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: called in a fresh child that will never use, or drop, the owners of these descriptors: it
    // leaves by exec or `_exit`.
    check(unsafe { libc::close_range(first, last, 0) })?;
    Ok(())
}
