//! Memory and disks of a machine that does not run.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use hearth_snapshot::{
    Capture, MemoryKind, OpenOptions, OpenSnapshot, PAGE_BYTES, Ram, SnapshotId, disk_file,
};
use hearth_wire::vmm::{DeviceSpec, DiskImage, RestoreSpec, SnapshotSpec, SnapshotSummary};
use vm_memory::{Bytes as _, GuestAddress};

use crate::agent;

/// Pages that a restored guest changes.
const CHANGED_PAGES: u64 = 8;

/// What stands for an overlay: no node looks into it.
const OVERLAY: &[u8] = b"an overlay without a guest's writes";

/// A restored machine.
pub(crate) struct Machine {
    ram: Ram,
    state: Vec<u8>,
    overlays: Vec<PathBuf>,
}

/// What becomes of the overlays that a snapshot takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlays {
    /// The machine continues on the next ones.
    Continue,
    /// It ends.
    End,
}

impl Machine {
    pub(crate) fn restore(spec: &RestoreSpec) -> Result<Self> {
        let verified: Vec<SnapshotId> = spec.verified.iter().copied().map(SnapshotId).collect();
        let options = OpenOptions {
            verified: &verified,
            ..OpenOptions::default()
        };
        let snapshot = OpenSnapshot::open_with(&spec.snapshot, &spec.ancestors, &options)?;
        let ram = Ram::restored(&snapshot)?;
        let memory = ram.guest_memory()?;
        for page in 0..CHANGED_PAGES {
            // Behind all pages of the template and its first layers.
            let at = ram.bytes() - (page + 1) * PAGE_BYTES;
            memory.write_slice(&snapshot.id().0, GuestAddress(at))?;
        }
        let overlays = overlays(&spec.devices);
        for path in &overlays {
            fs::write(path, OVERLAY)?;
        }
        if let Some(vsock) = &spec.devices.vsock {
            agent::listen(&vsock.path)?;
        }
        Ok(Self {
            state: snapshot.machine().to_vec(),
            ram,
            overlays,
        })
    }

    /// Makes a snapshot as a VMM does.
    pub(crate) fn seal(
        &mut self,
        spec: &SnapshotSpec,
        kind: MemoryKind,
        overlays: Overlays,
    ) -> Result<SnapshotSummary> {
        let mut capture = Capture::begin(&spec.directory)?;
        capture.memory(&self.ram, kind)?;
        for (index, path) in self.overlays.iter().enumerate() {
            capture.adopt(&disk_file(index), path)?;
        }
        if overlays == Overlays::Continue {
            for path in &spec.next_overlays {
                fs::write(path, OVERLAY)?;
            }
            self.overlays.clone_from(&spec.next_overlays);
            capture.rebase(&mut self.ram)?;
        }
        let sealed = capture.seal(self.state.clone())?;
        if overlays == Overlays::Continue {
            self.ram.confirm(sealed.lineage.clone());
        }
        Ok(SnapshotSummary {
            id: sealed.id.0,
            memory_bytes: sealed.memory_bytes,
            state_bytes: sealed.state_bytes,
            runs: sealed.lineage.extents.runs().len() as u64,
            paused_us: 0,
        })
    }
}

/// Where the writable disks are written.
fn overlays(devices: &DeviceSpec) -> Vec<PathBuf> {
    let images = devices.disks.iter().map(|disk| &disk.image);
    images
        .filter_map(|image| match image {
            DiskImage::Overlay { path, .. } => Some(path.clone()),
            DiskImage::ReadOnly { .. } => None,
        })
        .collect()
}
