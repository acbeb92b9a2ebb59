//! What a node writes down about microVMs and snapshots.
//!
//! Records are JSON: they are few, small, and a person who looks into a data directory should understand
//! them. They are replaced by rename, so that a crash leaves the old or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hearth_net::Egress;
use hearth_snapshot::SnapshotId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{NodeError, failed};
pub use crate::process::ProcessRecord;

/// Name of the record in a microVM's directory.
pub(crate) const MACHINE_FILE: &str = "machine.json";
/// Name of the record in the directory of a fork that was not launched yet.
pub(crate) const ORIGIN_FILE: &str = "origin.json";
/// Name of the record in a snapshot's directory.
pub(crate) const NODE_FILE: &str = "node.json";
/// Name of the list of pages that clones of a snapshot bring in ahead.
pub(crate) const PREFETCH_FILE: &str = "prefetch.json";

/// A running microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// The process that runs it.
    pub process: ProcessRecord,
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Its disks.
    pub disks: Vec<DiskStack>,
    /// The snapshot it was made from; none after a fresh boot.
    pub parent: Option<String>,
    /// Its network card; none on a node without networks.
    #[serde(default)]
    pub network: Option<NetworkRecord>,
    /// The user that its process is; none where the node is not root.
    #[serde(default)]
    pub user: Option<u32>,
    /// Whether an application was started in it.
    pub has_application: bool,
    /// A snapshot that was begun: written before the VMM is asked, cleared when its outcome is on disk.
    pub pending: Option<Purpose>,
    /// How often its writable disks were sealed; numbers the overlay files.
    pub overlay_generation: u32,
    /// A snapshot failed after the disks had moved to their next overlays: part of what they hold lies in
    /// no snapshot, so none can be made any more.
    pub have_disks_diverged: bool,
}

/// The network of a running microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Number of its slot.
    pub slot: u16,
    /// What it may reach.
    pub egress: Egress,
}

/// What a fork will begin from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OriginRecord {
    /// The snapshot.
    pub(crate) snapshot: String,
}

/// What a snapshot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To make clones of; stays until it is deleted.
    Template,
    /// It is a suspended microVM; nothing else holds its state.
    Suspended,
    /// A microVM passed through it (it was resumed from it, or forked there); removed when nothing stands on it any
    /// more.
    Step,
}

/// How one disk stacks up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStack {
    /// What the guest reads as serial number.
    pub serial: String,
    /// The raw image at the bottom.
    pub base: PathBuf,
    /// Sealed overlays above it that belong to no snapshot, nearest to the top first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<PathBuf>,
    /// Whether the guest may write; its own overlay then lies on top.
    pub is_writable: bool,
    /// Overlays that snapshots sealed, above those, nearest to the top first: (snapshot, file in it).
    pub sealed: Vec<(String, String)>,
}

/// What a restore needs beside the snapshot itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Disks as a clone finds them: what was the writable top is the first of `sealed`.
    pub disks: Vec<DiskStack>,
    /// What its network card may reach; `None` when it has no card.
    #[serde(default)]
    pub egress: Option<Egress>,
    /// Whether an application was frozen in it, which has to be made unique and thawed.
    pub has_application: bool,
    /// What it is for.
    pub purpose: Purpose,
    /// The microVM that it was taken of.
    pub machine: String,
    /// Seconds since the epoch.
    pub created_at: u64,
}

impl DiskStack {
    /// The images below the microVM's own overlay, nearest first, the raw one last.
    pub(crate) fn backing(&self, snapshot_directory: impl Fn(&str) -> PathBuf) -> Vec<PathBuf> {
        let sealed = self
            .sealed
            .iter()
            .map(|(snapshot, file)| snapshot_directory(snapshot).join(file));
        let overlays = self.overlays.iter().cloned();
        sealed.chain(overlays).chain([self.base.clone()]).collect()
    }

    /// The same disk one snapshot later.
    pub(crate) fn sealed_in(&self, id: SnapshotId, file: &str) -> Self {
        let mut disk = self.clone();
        disk.sealed.insert(0, (id.to_string(), file.to_owned()));
        disk
    }
}

/// Reads a record; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NodeError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", path))?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| NodeError::Record {
            path: path.to_owned(),
            source,
        })
}

/// Writes a record durably: beside, fsync, rename, fsync of the directory.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), NodeError> {
    replace(path, record, |file| file.sync_all())?;
    sync_parent(path)
}

/// Writes a record such that any process sees the old or the new one, but a power cut may lose it: for what
/// a power cut ends anyway, a running process.
pub(crate) fn write_volatile<T: Serialize>(path: &Path, record: &T) -> Result<(), NodeError> {
    replace(path, record, |_| Ok(()))
}

fn replace<T: Serialize>(
    path: &Path,
    record: &T,
    settle: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), NodeError> {
    let text = serde_json::to_vec_pretty(record).map_err(|source| NodeError::Record {
        path: path.to_owned(),
        source,
    })?;
    let beside = path.with_extension("json.new");
    let replaced = || {
        let mut file = File::create(&beside).map_err(failed("create", &beside))?;
        file.write_all(&text).map_err(failed("write", &beside))?;
        settle(&file).map_err(failed("make durable", &beside))?;
        fs::rename(&beside, path).map_err(failed("replace", path))
    };
    replaced().inspect_err(|_| {
        // On a full disk half a record is there; the next one would overwrite it, but it need not lie there until then.
        let _ = fs::remove_file(&beside);
    })
}

/// Makes names in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), NodeError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("make durable", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_is_absent_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(MACHINE_FILE);
        assert_eq!(read::<ProcessRecord>(&path).unwrap(), None);
        let record = ProcessRecord {
            pid: 1,
            start_ticks: 2,
        };
        write(&path, &record).unwrap();
        assert_eq!(read(&path).unwrap(), Some(record));
        fs::write(&path, "{").unwrap();
        assert!(matches!(
            read::<ProcessRecord>(&path),
            Err(NodeError::Record { .. })
        ));
    }
}
