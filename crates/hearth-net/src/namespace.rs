//! Network namespaces. A namespace belongs to a thread, so work in another one is done on a thread of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

/// Opens the namespace of the calling thread.
pub(crate) fn current() -> io::Result<OwnedFd> {
    of_kind("net")
}

/// Opens a namespace of the calling thread, as `/proc/PID/ns` names it.
pub(crate) fn of_kind(kind: &str) -> io::Result<OwnedFd> {
    File::open(format!("/proc/thread-self/ns/{kind}")).map(OwnedFd::from)
}

/// Moves the calling thread into new namespaces of all the kinds that a VMM has.
pub(crate) fn leave_all() -> io::Result<()> {
    let kinds = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    Ok(unshare(kinds)?)
}

/// Moves the calling thread into a new network namespace.
#[cfg(test)]
pub(crate) fn leave() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

/// Moves the calling thread into a namespace.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

/// Runs work in a namespace.
pub(crate) fn within<T: Send>(
    namespace: &OwnedFd,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    apart(|| {
        enter(namespace.as_fd())?;
        work()
    })
}

/// Runs work on a thread of its own, whose namespace ends with it.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
