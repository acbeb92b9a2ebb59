//! Saves a machine as a snapshot, after which it continues or ends.
//!
//! ```text
//!   paused -> memory written -> disks folded -> disks sealed -> [room made, disks continue on overlays, memory rebased -> running]
//!                                                                  -> sealed: hashes, fsync, rename
//! ```
//!
//! A failure before the disks are sealed changes nothing. A disk that is sealed when a later step fails is opened for
//! writing again. Continuing the disks on overlays is irreversible, so space on the host's disk for everything that is
//! written later is allocated before it.

use std::fs;
use std::path::PathBuf;

use hearth_snapshot::{Capture, CaptureError, MemoryKind, RamError, Sealed, disk_file};
use hearth_wire::crash_point::CrashPoint;
use hearth_wire::vmm::{Refusal, SnapshotKind, SnapshotSpec, SnapshotSummary};

use super::disks::ReopenError;
use super::host;
use super::running::Machine;
use super::state::{MachineState, SavedDevice};
use crate::arch::x86_64::clock;
use crate::arch::x86_64::irqchip::IrqchipState;
use crate::arch::x86_64::vcpu_state::{VcpuState, VcpuStateError, kept_msrs};
use crate::crash_point;
use crate::virtio::block::{Block, SealError};

/// Why a snapshot could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The number of overlays is not that of the writable disks.
    #[error("{overlays} overlays were given for {disks} writable disks")]
    Overlays {
        /// Number that the request gave.
        overlays: usize,
        /// Number of writable disks.
        disks: usize,
    },
    /// The request must give a number of images to fold for each writable disk.
    #[error("images to fold were given for {given} of {disks} writable disks")]
    Folds {
        /// Number that the request gave.
        given: usize,
        /// Number of writable disks.
        disks: usize,
    },
    /// A disk has fewer images than it is to fold.
    #[error(
        "disk {index} has {possible} images that can be folded into its overlay, {asked} were asked for"
    )]
    FoldTooDeep {
        /// Index among the writable disks.
        index: usize,
        /// Number of images that the request asked to fold.
        asked: u16,
        /// Number of images that can be folded: all except the base.
        possible: usize,
    },
    /// The state of a vCPU could not be read.
    #[error("save vCPU {index}")]
    Vcpu {
        /// Number of the vCPU.
        index: usize,
        /// The cause.
        #[source]
        source: VcpuStateError,
    },
    /// A part of the machine's state could not be read from KVM.
    #[error("save the {what}")]
    Kvm {
        /// Which part.
        what: &'static str,
        /// The cause.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// The state could not be encoded.
    #[error("encode the state of the machine")]
    Encode(#[source] postcard::Error),
    /// Memory or the directory could not be written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A disk could not be sealed, or continued on its overlay.
    #[error("seal disk {index}")]
    Disk {
        /// Index among the writable disks.
        index: usize,
        /// The cause.
        #[source]
        source: SealError,
    },
    /// Memory could not be mapped from the new snapshot.
    #[error("continue on the new snapshot's memory")]
    Rebase(#[source] RamError),
    /// A disk that had been sealed could not be opened again: the machine is lost.
    #[error("open disk {index} again after a failure ({failure})")]
    Reopen {
        /// Index among the writable disks.
        index: usize,
        /// The failure after which the disk was to be opened again.
        failure: String,
        /// The cause.
        #[source]
        source: ReopenError,
    },
}

impl SnapshotError {
    /// Whether the machine can continue after this error.
    pub fn machine_is_intact(&self) -> bool {
        !matches!(self, Self::Reopen { .. } | Self::Rebase(_))
    }

    /// The reason why this kind of snapshot is not possible, if another kind is.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Capture(CaptureError::NoParent) => Some(Refusal::NoParent),
            Self::Capture(CaptureError::ChainTooLong(_)) => Some(Refusal::ChainTooLong),
            Self::Capture(CaptureError::Fragmented(_)) => Some(Refusal::Fragmented),
            _ => None,
        }
    }
}

/// A snapshot whose memory and disks are written. The remaining steps do not need the machine.
#[derive(Debug)]
pub struct Sealing {
    capture: Capture,
    machine: Vec<u8>,
    /// How long the machine was paused for the snapshot, in microseconds.
    pub paused_us: u64,
}

impl Sealing {
    /// Makes the snapshot durable and moves it to its final name.
    pub fn finish(self) -> Result<(Sealed, SnapshotSummary), CaptureError> {
        let sealed = self.capture.seal(self.machine)?;
        let summary = SnapshotSummary {
            id: sealed.id.0,
            memory_bytes: sealed.memory_bytes,
            state_bytes: sealed.state_bytes,
            runs: sealed.lineage.extents.runs().len() as u64,
            paused_us: self.paused_us,
        };
        Ok((sealed, summary))
    }
}

impl Machine {
    /// Writes memory and disks of this paused machine to a snapshot. With `next_overlays`, the machine can continue
    /// afterwards: its disks on these overlays, its memory on the new snapshot's file. Without, it ends.
    pub fn capture(
        &mut self,
        spec: &SnapshotSpec,
        goes_on: GoesOn,
    ) -> Result<Sealing, SnapshotError> {
        let disks = self.devices.writable.len();
        let overlays = match goes_on {
            GoesOn::Yes if spec.next_overlays.len() != disks => {
                return Err(SnapshotError::Overlays {
                    overlays: spec.next_overlays.len(),
                    disks,
                });
            }
            GoesOn::Yes => spec.next_overlays.as_slice(),
            GoesOn::No => &[],
        };
        let folds = self.folds(&spec.fold)?;
        let machine = self.save_state()?.encode().map_err(SnapshotError::Encode)?;
        let mut capture = Capture::begin(&spec.directory)?;
        capture.memory(&self.ram, memory_kind(spec.kind))?;
        // Up to here nothing has changed, and folding changes nothing of what a disk reads as.
        self.fold_disks(&folds)?;
        crash_point::reach(CrashPoint::SealMemoryWritten);
        let mut sealed = self.seal_disks(&mut capture);
        if goes_on == GoesOn::Yes {
            sealed = sealed
                .and_then(|()| Ok(capture.make_room(machine.len())?))
                .and_then(|()| self.stack_disks(overlays, &folds));
        }
        if let Err(failure) = sealed {
            // Its second names of the disks go first.
            drop(capture);
            return Err(self.reopen_disks(failure));
        }
        if goes_on == GoesOn::Yes {
            capture
                .rebase(&mut self.ram)
                .map_err(SnapshotError::Rebase)?;
        }
        Ok(Sealing {
            capture,
            machine,
            paused_us: self.paused_us(),
        })
    }

    /// Notes that the snapshot from which this machine continued is durable. It becomes the parent of the next layer.
    pub fn confirm(&mut self, sealed: &Sealed) {
        self.ram.confirm(sealed.lineage.clone());
    }

    /// Opens sealed disks for writing again, after a suspend that failed once they were sealed. Answers the error to
    /// report.
    pub fn reopen_disks(&mut self, failure: SnapshotError) -> SnapshotError {
        for (index, disk) in self.devices.writable.iter_mut().enumerate() {
            if let Err(source) = disk.reopen() {
                let failure = crate::error_chain(&failure);
                return SnapshotError::Reopen {
                    index,
                    failure,
                    source,
                };
            }
        }
        failure
    }

    fn save_state(&self) -> Result<MachineState, SnapshotError> {
        let kvm = |what| move |source| SnapshotError::Kvm { what, source };
        let listed = self
            .kvm
            .get_msr_index_list()
            .map_err(kvm("list of registers"))?;
        let msrs = kept_msrs(listed.as_slice());
        let vcpus = self
            .vcpus
            .held()
            .enumerate()
            .map(|(index, vcpu)| {
                VcpuState::save(vcpu, &msrs).map_err(|source| SnapshotError::Vcpu { index, source })
            })
            .collect::<Result<_, _>>()?;
        let devices = self.devices.virtio.iter().map(|device| SavedDevice {
            name: device.name().to_owned(),
            state: device.save(),
        });
        Ok(MachineState {
            host_boot: host::boot_id(),
            vcpus,
            irqchip: IrqchipState::save(&self.vm).map_err(kvm("interrupt controllers"))?,
            clock: clock::read(&self.vm).map_err(kvm("clock"))?,
            serial: self.devices.serial.as_ref().map(|serial| serial.save()),
            devices: devices.collect(),
        })
    }

    /// Checks the number of images to fold for each writable disk.
    fn folds(&self, asked: &[u16]) -> Result<Vec<usize>, SnapshotError> {
        let disks = &self.devices.writable;
        if asked.is_empty() {
            return Ok(vec![0; disks.len()]);
        }
        if asked.len() != disks.len() {
            let (given, disks) = (asked.len(), disks.len());
            return Err(SnapshotError::Folds { given, disks });
        }
        for (index, (disk, asked)) in disks.iter().zip(asked).enumerate() {
            let possible = disk.foldable();
            if usize::from(*asked) > possible {
                let asked = *asked;
                return Err(SnapshotError::FoldTooDeep {
                    index,
                    asked,
                    possible,
                });
            }
        }
        Ok(asked.iter().map(|count| usize::from(*count)).collect())
    }

    /// Copies into each writable disk's overlay the data of the images below that are folded into it.
    fn fold_disks(&self, folds: &[usize]) -> Result<(), SnapshotError> {
        for (index, (disk, count)) in self.devices.writable.iter().zip(folds).enumerate() {
            let failed = |source| SnapshotError::Disk { index, source };
            disk.device
                .with_device(|block| block.fold(*count))
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Seals each writable disk into the capture.
    fn seal_disks(&mut self, capture: &mut Capture) -> Result<(), SnapshotError> {
        for (index, disk) in self.devices.writable.iter().enumerate() {
            let path = disk.top();
            let failed = |source| SnapshotError::Disk { index, source };
            disk.device.with_device(Block::seal).map_err(failed)?;
            capture.adopt(&disk_file(index), &path)?;
        }
        crash_point::reach(CrashPoint::SealDisksSealed);
        Ok(())
    }

    /// Continues each sealed disk on its overlay, above the images that were not folded. All disks must be sealed and
    /// part of the capture: before this step, all of them can still be opened again.
    fn stack_disks(&mut self, overlays: &[PathBuf], folds: &[usize]) -> Result<(), SnapshotError> {
        let disks = self.devices.writable.iter_mut();
        for (index, ((disk, overlay), folded)) in disks.zip(overlays).zip(folds).enumerate() {
            if let Err(source) = disk.stack(overlay, *folded) {
                // Those already stacked go back as well, so that either all moved or none.
                overlays[..index]
                    .iter()
                    .for_each(|path| drop(fs::remove_file(path)));
                return Err(SnapshotError::Disk { index, source });
            }
        }
        let disks = self.devices.writable.iter_mut();
        for ((disk, overlay), folded) in disks.zip(overlays).zip(folds) {
            disk.moved_to(overlay, *folded);
        }
        crash_point::reach(CrashPoint::SealDisksStacked);
        Ok(())
    }
}

/// Whether a machine continues after its capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    /// The machine continues.
    Yes,
    /// The machine is suspended: it ends.
    No,
}

fn memory_kind(kind: SnapshotKind) -> MemoryKind {
    match kind {
        SnapshotKind::Full => MemoryKind::Full,
        SnapshotKind::Layer => MemoryKind::Layer,
        SnapshotKind::Merged => MemoryKind::Merged,
    }
}
