//! seccomp: which system calls each kind of thread may make. Anything else ends the process at once, and the kernel
//! logs the call (`type=1326`); the node sees its control connection close.
//!
//! The process's list applies to every thread. vCPU and disk threads then add a list of their own; a call must be on
//! all lists of its thread. A vCPU thread starts disk threads (the driver's last step is a register write), so its list
//! contains theirs. The lists are in `lists.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::SandboxError;
use super::program::{DISK, VCPU, apply, of_this_process};

/// Threads with a list of their own, beside the process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadKind {
    /// Runs a vCPU and serves its exits.
    Vcpu,
    /// Serves a disk's requests.
    Disk,
}

/// Whether the process has its filter. A static, as the filter itself is a property of the process. Without it (in
/// tests of single devices), threads add no filter.
static IS_BOUND: AtomicBool = AtomicBool::new(false);

/// Applies the filter of the process.
pub(super) fn confine_process() -> Result<(), SandboxError> {
    apply(&of_this_process()).map_err(SandboxError::Apply)?;
    IS_BOUND.store(true, Ordering::Release);
    Ok(())
}

/// Adds the filter of its kind to the calling thread, if the process has its filter.
pub fn confine_thread(kind: ThreadKind) -> Result<(), SandboxError> {
    if !IS_BOUND.load(Ordering::Acquire) {
        return Ok(());
    }
    let program = match kind {
        ThreadKind::Vcpu => VCPU,
        ThreadKind::Disk => DISK,
    };
    apply(program).map_err(SandboxError::Apply)
}
