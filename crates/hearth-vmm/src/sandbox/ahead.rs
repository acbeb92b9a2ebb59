//! What a VMM opens while it is root and sees the host, because it needs it when it is neither.

use super::SandboxError;
use crate::{kvm, machine};

/// The device that makes machines, which of its pages are its own, and which boot of the host this is.
pub(super) fn open() -> Result<(), SandboxError> {
    kvm::open_ahead();
    hearth_snapshot::open_pagemap_ahead().map_err(SandboxError::Pagemap)?;
    machine::remember_host_boot();
    Ok(())
}
