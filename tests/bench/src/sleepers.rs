//! A data directory with suspended instances that never ran.
//!
//! ```text
//! <data>/
//!   root.img           the read-only disk of all
//!   overlay.qcow2      the sealed writable disk of all; no node looks into it
//!   snapshots/<id>     one template: a full snapshot of 16 MiB
//!   snapshots/<id>...  the sleepers: one layer above it each, with a map of 200 runs and 32 KiB of machine state
//! ```
//!
//! The snapshots are sealed by `hearth-snapshot` like all others. Their records are those that a node writes, but without the
//! checksum, as in earlier releases.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth_node::{
    DiskStack, Layout, MachineName, NodeOptions, Purpose, SnapshotRecord, SnapshotShape,
};
use hearth_snapshot::{Capture, MemoryKind, OpenSnapshot, PAGE_BYTES, Ram, SnapshotId, describe};
use vm_memory::{Bytes as _, GuestAddress};

/// RAM of every instance.
const MEMORY_MIB: u32 = 16;

/// Bytes of RAM that are not zero in the template.
const TEMPLATE_BYTES: usize = 4 << 20;

/// Runs of each sleeper's map.
const RUNS: u64 = 200;

/// Of so many runs, one is of data and the others of zeros: ten thousand sleepers should fit on a disk.
const DATA_RUN_EVERY: u64 = 20;

/// Pages of a run of zeros: shorter ones are stored as data.
const ZERO_PAGES: u64 = 16;

/// Pages from the beginning of a run to that of the next one. What lies between two stays as in the template.
const RUN_DISTANCE: u64 = ZERO_PAGES + 4;

/// What a VMM with one vCPU says of its machine has about this size.
const MACHINE_STATE_BYTES: usize = 32 << 10;

/// Threads that make sleepers.
const THREADS: usize = 16;

/// The name of the sealed overlay in each snapshot.
const DISK: &str = "disk-0.qcow2";

/// The suspended instances of a data directory.
#[derive(Debug)]
pub struct Sleepers {
    layout: Layout,
    names: Vec<(MachineName, SnapshotId)>,
}

/// A node of that data directory whose VMMs are `vmm_program`, without networks and groups.
pub fn options(data: &Path, vmm_program: &Path) -> NodeOptions {
    NodeOptions::new(data.to_owned(), vmm_program.to_owned())
}

impl Sleepers {
    /// Makes `count` of them in a new data directory.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn make(data: &Path, count: usize) -> Result<Self> {
        let layout = Layout::new(data.to_owned());
        fs::create_dir_all(layout.snapshots())?;
        let base = data.join("root.img");
        fs::write(&base, [0; 4096])?;
        let maker = Maker {
            overlay: data.join("overlay.qcow2"),
            layout,
        };
        fs::write(&maker.overlay, [1; 4096])?;
        let disk = DiskStack {
            serial: "root".to_owned(),
            base,
            overlays: Vec::new(),
            is_writable: true,
            sealed: Vec::new(),
        };

        let ram = Ram::anonymous(u64::from(MEMORY_MIB) << 20)?;
        write(&ram, 0, &vec![7; TEMPLATE_BYTES])?;
        let (template, disk) = maker.seal(
            &ram,
            MemoryKind::Full,
            ("template", Purpose::Template),
            &disk,
        )?;

        let opened = OpenSnapshot::open(&maker.layout.snapshot(template), &[])?;
        let ram = Ram::restored(&opened)?;
        change_pages(&ram)?;
        let names = maker.lay_down(count, &ram, &disk)?;
        Ok(Self {
            names,
            layout: maker.layout,
        })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &MachineName> {
        self.names.iter().map(|(name, _)| name)
    }

    /// The directories in which they lie.
    pub fn directories(&self) -> impl Iterator<Item = (&MachineName, PathBuf)> {
        let sleepers = self.names.iter();
        sleepers.map(|(name, id)| (name, self.layout.snapshot(*id)))
    }
}

/// Makes snapshots.
struct Maker {
    layout: Layout,
    overlay: PathBuf,
}

impl Maker {
    /// Makes sleepers with this memory, several at a time: each waits for the disk most of the time.
    fn lay_down(
        &self,
        count: usize,
        ram: &Ram,
        disk: &DiskStack,
    ) -> Result<Vec<(MachineName, SnapshotId)>> {
        let share = |thread: usize| (thread..count).step_by(THREADS);
        let sleeper = |_| {
            let name = format!("microvm-{}", uuid::Uuid::new_v4());
            let of = (name.as_str(), Purpose::Suspended);
            let (id, _) = self.seal(ram, MemoryKind::Layer, of, disk)?;
            Ok((name.parse()?, id))
        };
        std::thread::scope(|scope| {
            let start = |thread| scope.spawn(move || share(thread).map(sleeper).collect());
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            let mut names = Vec::with_capacity(count);
            for thread in threads {
                let made: Result<Vec<_>> = match thread.join() {
                    Ok(made) => made,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                names.extend(made?);
            }
            Ok(names)
        })
    }

    /// Seals a snapshot of an instance as its VMM and its node do it together.
    fn seal(
        &self,
        ram: &Ram,
        kind: MemoryKind,
        (machine, purpose): (&str, Purpose),
        disk: &DiskStack,
    ) -> Result<(SnapshotId, DiskStack)> {
        let incoming = self.layout.snapshots().join(format!("incoming-{machine}"));
        let mut capture = Capture::begin(&incoming)?;
        capture.memory(ram, kind)?;
        capture.adopt(DISK, &self.overlay)?;
        // The name makes another snapshot of it.
        let mut state = machine.as_bytes().to_vec();
        state.resize(MACHINE_STATE_BYTES, 0);
        let id = capture.seal(state)?.id;

        let disk = DiskStack {
            sealed: [vec![(id.to_string(), DISK.to_owned())], disk.sealed.clone()].concat(),
            ..disk.clone()
        };
        let record = SnapshotRecord {
            memory_mib: MEMORY_MIB,
            vcpus: 1,
            disks: vec![disk.clone()],
            egress: None,
            has_application: true,
            purpose,
            machine: machine.to_owned(),
            created_at: 1_800_000_000,
            shape: Some(shape(&incoming)?),
        };
        let text = serde_json::to_vec_pretty(&record)?;
        fs::write(incoming.join("node.json"), text)?;
        fs::set_permissions(&incoming, Permissions::from_mode(0o755))?;
        fs::rename(&incoming, self.layout.snapshot(id)).context("cannot move a snapshot")?;
        Ok((id, disk))
    }
}

/// What a node notes of a snapshot's files.
fn shape(directory: &Path) -> Result<SnapshotShape> {
    let description = describe(directory)?;
    let mut files = description.files;
    for name in ["state", "hashes"] {
        files.push((name.to_owned(), fs::metadata(directory.join(name))?.len()));
    }
    let memory_bytes = match description.ancestors.is_empty() {
        true => fs::metadata(directory.join("memory"))?.blocks() * 512,
        false => description.memory_bytes,
    };
    let ancestors = description.ancestors.iter().map(SnapshotId::to_string);
    Ok(SnapshotShape {
        ancestors: ancestors.collect(),
        files,
        runs: description.runs,
        memory_bytes,
    })
}

/// Changes pages such that a layer's map has [`RUNS`] runs.
fn change_pages(ram: &Ram) -> Result<()> {
    for run in 0..RUNS {
        let at = run * RUN_DISTANCE * PAGE_BYTES;
        match run % DATA_RUN_EVERY {
            0 => write(ram, at, &[9; PAGE_BYTES as usize])?,
            _ => write(ram, at, &[0; (ZERO_PAGES * PAGE_BYTES) as usize])?,
        }
    }
    Ok(())
}

fn write(ram: &Ram, at: u64, bytes: &[u8]) -> Result<()> {
    ram.guest_memory()?.write_slice(bytes, GuestAddress(at))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_are_whole_and_have_the_map_that_is_promised() {
        let data = tempfile::tempdir().unwrap();
        let sleepers = Sleepers::make(data.path(), 2).unwrap();
        for (_, directory) in sleepers.directories() {
            let described = describe(&directory).unwrap();
            assert_eq!(described.runs as u64, RUNS);
            assert_eq!(described.ancestors.len(), 1);
            let problems = hearth_snapshot::verify(&directory);
            assert!(problems.is_empty(), "{problems:?}");
        }
    }
}
