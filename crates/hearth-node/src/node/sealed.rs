//! Checks that a snapshot that a VMM has sealed is the one that the node asked for.
//!
//! A VMM that was taken over can write anything into its `state` file, with the right checksums: names of files outside
//! the snapshot, or another tenant's snapshot as an ancestor. The next VMM would get access to them. So everything that
//! the node's own records know is compared, and a difference is refused.

use hearth_snapshot::{Description, MEMORY_FILE, SnapshotId, disk_file};

use crate::index::SnapshotInfo;
use crate::record::MachineRecord;

/// How a snapshot differs from the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    /// The files are not the memory file and the writable disks, in this order.
    #[error("it names the files {0:?}")]
    Files(Vec<String>),
    /// The ancestors are neither empty, nor the full snapshot below the instance, nor the instance's own chain.
    #[error("it names ancestors that are not those of the instance")]
    Ancestors,
    /// The size of memory is not that of the instance.
    #[error("it has {found} bytes of RAM, the instance has {expected}")]
    Ram {
        /// Bytes in the snapshot.
        found: u64,
        /// Bytes in the instance's record.
        expected: u64,
    },
}

/// Compares a description with the record of the instance and with the snapshot that it stands on, if the node knows
/// that.
pub(super) fn check(
    description: &Description,
    machine: &MachineRecord,
    parent: Option<&SnapshotInfo>,
) -> Result<(), Mismatch> {
    let disks = machine.disks.iter().filter(|disk| disk.is_writable);
    let names = (0..disks.count()).map(disk_file);
    let names = std::iter::once(MEMORY_FILE.to_owned()).chain(names);
    let found = || description.files.iter().map(|(name, _)| name.clone());
    if !found().eq(names) {
        return Err(Mismatch::Files(found().collect()));
    }
    if !are_own(&description.ancestors, parent) {
        return Err(Mismatch::Ancestors);
    }
    let expected = u64::from(machine.memory_mib) << 20;
    if description.ram_bytes != expected {
        return Err(Mismatch::Ram {
            found: description.ram_bytes,
            expected,
        });
    }
    Ok(())
}

/// Whether a snapshot of an instance above `parent` may have these ancestors: those of a full one, a merged one, or a
/// layer.
fn are_own(ancestors: &[SnapshotId], parent: Option<&SnapshotInfo>) -> bool {
    let Some(parent) = parent else {
        return ancestors.is_empty();
    };
    let layer = std::iter::once(&parent.id).chain(&parent.ancestors);
    let full = parent.ancestors.last().unwrap_or(&parent.id);
    ancestors.is_empty() || ancestors == [*full] || ancestors.iter().eq(layer)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::record::{DiskStack, ProcessRecord, Purpose, SnapshotRecord};

    fn id(number: u8) -> SnapshotId {
        SnapshotId([number; 32])
    }

    fn disk(is_writable: bool) -> DiskStack {
        DiskStack {
            serial: "a".to_owned(),
            base: PathBuf::from("/a"),
            overlays: Vec::new(),
            is_writable,
            sealed: Vec::new(),
        }
    }

    fn machine() -> MachineRecord {
        MachineRecord {
            process: ProcessRecord {
                pid: 1,
                start_ticks: 1,
            },
            user: None,
            memory_mib: 1,
            vcpus: 1,
            disks: vec![disk(false), disk(true), disk(false), disk(true)],
            parent: Some(id(1).to_string()),
            network: None,
            has_application: true,
            pending: Some(Purpose::Suspended),
            folds: Vec::new(),
            overlay_generation: 0,
            have_disks_diverged: false,
        }
    }

    fn parent() -> SnapshotInfo {
        SnapshotInfo {
            id: id(1),
            ancestors: vec![id(2), id(3)],
            record: SnapshotRecord {
                memory_mib: 1,
                vcpus: 1,
                disks: Vec::new(),
                egress: None,
                has_application: true,
                purpose: Purpose::Step,
                machine: "m".to_owned(),
                created_at: 0,
                shape: None,
            },
        }
    }

    fn description(files: &[&str], ancestors: Vec<SnapshotId>) -> Description {
        Description {
            id: id(9),
            ancestors,
            ram_bytes: 1 << 20,
            files: files.iter().map(|name| ((*name).to_owned(), 1)).collect(),
            runs: 0,
            memory_bytes: 0,
        }
    }

    const FILES: &[&str] = &["memory", "disk-0.qcow2", "disk-1.qcow2"];

    #[test]
    fn what_was_asked_for_is_taken_in() {
        for ancestors in [vec![], vec![id(3)], vec![id(1), id(2), id(3)]] {
            let told = description(FILES, ancestors);
            assert_eq!(check(&told, &machine(), Some(&parent())), Ok(()));
        }
        assert_eq!(check(&description(FILES, vec![]), &machine(), None), Ok(()));
    }

    #[test]
    fn files_of_others_are_refused() {
        for names in [
            &[
                "memory",
                "/data/machines/victim/vmm/disk-0.0.qcow2",
                "disk-1.qcow2",
            ][..],
            &[
                "memory",
                "../../machines/victim/disk-0.qcow2",
                "disk-1.qcow2",
            ],
            &["memory", "disk-1.qcow2", "disk-0.qcow2"],
            &["memory", "disk-0.qcow2"],
            &["memory", "disk-0.qcow2", "disk-1.qcow2", "disk-2.qcow2"],
            &["disk-0.qcow2", "disk-1.qcow2"],
            &[],
        ] {
            let told = description(names, vec![]);
            let refused = check(&told, &machine(), Some(&parent()));
            assert!(matches!(refused, Err(Mismatch::Files(_))), "{names:?}");
        }
    }

    #[test]
    fn memory_of_others_is_refused() {
        for ancestors in [
            vec![id(7)],
            vec![id(1), id(2), id(7)],
            vec![id(1), id(7), id(3)],
            vec![id(1)],
            vec![id(2), id(3)],
            vec![id(1), id(2), id(3), id(7)],
        ] {
            let told = description(FILES, ancestors.clone());
            let refused = check(&told, &machine(), Some(&parent()));
            assert_eq!(refused, Err(Mismatch::Ancestors), "{ancestors:?}");
        }
        // An instance that booted stands on nothing.
        let told = description(FILES, vec![id(7)]);
        assert_eq!(check(&told, &machine(), None), Err(Mismatch::Ancestors));
        let mut larger = description(FILES, vec![]);
        larger.ram_bytes += 4096;
        let refused = check(&larger, &machine(), Some(&parent()));
        assert!(matches!(refused, Err(Mismatch::Ram { .. })));
    }
}
