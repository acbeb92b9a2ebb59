//! Files that a VMM opens while it is still root and sees the host's files: in its sandbox it can no longer open them.

use super::SandboxError;
use crate::{kvm, machine};

/// Opens `/dev/kvm` and `/proc/self/pagemap`, and reads the host's boot id.
pub(super) fn open() -> Result<(), SandboxError> {
    kvm::open_ahead();
    hearth_snapshot::open_pagemap_ahead().map_err(SandboxError::Pagemap)?;
    machine::remember_host_boot();
    Ok(())
}
