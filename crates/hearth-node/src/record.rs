//! The records of microVMs and snapshots that a node keeps on disk.
//!
//! Records are JSON: they are few and small, and a person who looks into a data directory should understand them. They
//! are replaced by rename, so that a crash leaves the old or the new one. Each carries a checksum over its members, so
//! that a changed byte is noticed even if the JSON still parses. Records of earlier releases have no checksum.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_net::Egress;
use hearth_snapshot::{OpenError, SnapshotId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{NodeError, failed};
pub use crate::process::ProcessRecord;

/// Name of the record in a microVM's directory.
pub(crate) const MACHINE_FILE: &str = "machine.json";
/// Name of the record in the directory of a fork that was not launched yet.
pub(crate) const ORIGIN_FILE: &str = "origin.json";
/// Name of the record in a snapshot's directory.
pub(crate) const NODE_FILE: &str = "node.json";
/// Name of the file with the list of pages that clones of a snapshot prefetch.
pub(crate) const PREFETCH_FILE: &str = "prefetch.json";

/// The record of a running microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// The VMM process that runs it.
    pub process: ProcessRecord,
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Its disks.
    pub disks: Vec<DiskStack>,
    /// Id of the snapshot that it stands on; `None` after a fresh boot.
    pub parent: Option<String>,
    /// Its network; `None` on a node without networks.
    #[serde(default)]
    pub network: Option<NetworkRecord>,
    /// The user of its process; `None` if the node is not root.
    #[serde(default)]
    pub user: Option<u32>,
    /// Whether an application was started in it.
    pub has_application: bool,
    /// Purpose of a snapshot that is under way. Written before the VMM is asked, cleared when the outcome is on disk.
    pub pending: Option<Purpose>,
    /// For each writable disk, the number of images below it that the pending snapshot folds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<u16>,
    /// Number of times that its writable disks were sealed. Part of the names of overlay files.
    pub overlay_generation: u32,
    /// Whether a snapshot failed after the disks had moved to their next overlays. Part of the disks' data is then in
    /// no snapshot, so none can be made any more.
    pub have_disks_diverged: bool,
}

/// The network of a running microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Number of its network slot.
    pub slot: u16,
    /// Its egress.
    pub egress: Egress,
}

/// The record of a fork that was not launched yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OriginRecord {
    /// Id of the snapshot from which the fork will be launched.
    pub(crate) snapshot: String,
}

/// The purpose of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A template for clones. Stays until it is deleted.
    Template,
    /// A suspended microVM, whose state is nowhere else.
    Suspended,
    /// A step: a microVM was resumed from it, or forked there. Removed when nothing stands on it any more.
    Step,
    /// A template of a booted guest that has done nothing yet. Other guests start from it, with disks of their own
    /// (warm.rs).
    Booted,
}

/// The images of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStack {
    /// Serial number that the guest reads.
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

/// The record of a snapshot: everything that a restore needs beside the snapshot itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// The disks of a clone: the former writable top is the first of `sealed`.
    pub disks: Vec<DiskStack>,
    /// Egress of its network card; `None` if it has no card.
    #[serde(default)]
    pub egress: Option<Egress>,
    /// Whether it contains a frozen application, which has to be thawed after the guest was made unique.
    pub has_application: bool,
    /// Its purpose.
    pub purpose: Purpose,
    /// Name of the microVM that it was taken of.
    pub machine: String,
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
    /// A summary of its files, so that they need not be read to list it; `None` in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<SnapshotShape>,
}

/// A summary of a snapshot's files, written to its record when the node takes it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotShape {
    /// Ids of its ancestors, nearest first.
    pub ancestors: Vec<String>,
    /// Names and sizes of its files, in bytes.
    pub files: Vec<(String, u64)>,
    /// Number of runs in its memory map.
    pub runs: usize,
    /// Bytes of memory pages that are its own.
    pub memory_bytes: u64,
}

impl SnapshotShape {
    /// The ancestors as ids.
    pub(crate) fn ancestors(&self) -> Result<Vec<SnapshotId>, NodeError> {
        let ids = self.ancestors.iter().map(|text| {
            let id = text.parse();
            id.map_err(|_| NodeError::UnknownSnapshot(text.clone()))
        });
        ids.collect()
    }

    /// Checks that every file exists with its recorded size. The content is checked when the files are opened.
    pub(crate) fn check_files(&self, directory: &Path) -> Result<(), NodeError> {
        for (name, expected) in &self.files {
            let path = directory.join(name);
            let found = fs::metadata(&path).map_err(failed("read", &path))?.len();
            if found != *expected {
                let expected = *expected;
                return Err(OpenError::Length {
                    path,
                    found,
                    expected,
                }
                .into());
            }
        }
        Ok(())
    }
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

    /// The same disk after one more snapshot, into which the uppermost `folded` sealed overlays were folded.
    pub(crate) fn sealed_in(&self, id: SnapshotId, file: &str, folded: usize) -> Self {
        let mut disk = self.clone();
        let folded = folded.min(disk.sealed.len());
        disk.sealed
            .splice(..folded, [(id.to_string(), file.to_owned())]);
        disk
    }
}

/// Name of the member that holds the checksum of the others.
const CHECKSUM: &str = "checksum";

/// Largest record in bytes. A snapshot's record names each file of its chain, and a list of pages to prefetch names
/// each run.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a record; `None` if the file does not exist.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NodeError> {
    let text = match hearth_snapshot::plain::read(path, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", path))?,
    };
    let malformed = |source| NodeError::Record {
        path: path.to_owned(),
        source,
    };
    let mut value: Value = serde_json::from_slice(&text).map_err(malformed)?;
    let sum = value
        .as_object_mut()
        .and_then(|members| members.remove(CHECKSUM));
    if sum.is_some_and(|sum| sum != checksum(&value)) {
        return Err(NodeError::Checksum(path.to_owned()));
    }
    serde_json::from_value(value).map(Some).map_err(malformed)
}

/// BLAKE3 of a record's members, independent of their order and layout in the file.
fn checksum(record: &Value) -> Value {
    let mut hasher = blake3::Hasher::new();
    feed(&mut hasher, record);
    Value::String(hasher.finalize().to_hex().to_string())
}

fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            hasher.update(b"{");
            for (name, member) in sorted {
                feed(hasher, &Value::String(name.clone()));
                feed(hasher, member);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| feed(hasher, item));
            hasher.update(b"]");
        }
        plain => {
            hasher.update(plain.to_string().as_bytes());
            hasher.update(b",");
        }
    }
}

/// Writes a record durably: to a temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), NodeError> {
    replace(path, record, |file| file.sync_all())?;
    sync_parent(path)
}

/// Writes a record atomically but without fsync: a power cut may lose it. For records of running processes, which a
/// power cut ends anyway.
pub(crate) fn write_volatile<T: Serialize>(path: &Path, record: &T) -> Result<(), NodeError> {
    replace(path, record, |_| Ok(()))
}

fn replace<T: Serialize>(
    path: &Path,
    record: &T,
    settle: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), NodeError> {
    let malformed = |source| NodeError::Record {
        path: path.to_owned(),
        source,
    };
    let mut value = serde_json::to_value(record).map_err(malformed)?;
    let sum = checksum(&value);
    if let Some(members) = value.as_object_mut() {
        members.insert(CHECKSUM.to_owned(), sum);
    }
    let text = serde_json::to_vec_pretty(&value).map_err(malformed)?;
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

/// The wall clock, in seconds since the epoch.
pub(crate) fn seconds_since_epoch() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// fsyncs the directory of `path`, so that the names in it are durable.
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
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"pid\": 1", "\"pid\": 7")).unwrap();
        assert!(matches!(
            read::<ProcessRecord>(&path),
            Err(NodeError::Checksum(_))
        ));
        fs::write(&path, r#"{"start_ticks":2,"pid":1}"#).unwrap();
        assert_eq!(
            read(&path).unwrap(),
            Some(record),
            "earlier releases wrote no checksum"
        );
        fs::write(&path, "{").unwrap();
        assert!(matches!(
            read::<ProcessRecord>(&path),
            Err(NodeError::Record { .. })
        ));
    }
}
