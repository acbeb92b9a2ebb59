//! Network namespaces. They belong to threads, so what is done in one is done on a thread of its own.

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

/// Puts the calling thread into new namespaces of all the kinds that a VMM lives in.
pub(crate) fn leave_all() -> io::Result<()> {
    let kinds = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    Ok(unshare(kinds)?)
}

/// Puts the calling thread into a new network namespace.
#[cfg(test)]
pub(crate) fn leave() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

/// Puts the calling thread into a namespace.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

/// Does something in a namespace.
pub(crate) fn within<T: Send>(
    namespace: &OwnedFd,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    apart(|| {
        enter(namespace.as_fd())?;
        work()
    })
}

/// Does something on a thread of its own, which takes its namespace to the grave.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
