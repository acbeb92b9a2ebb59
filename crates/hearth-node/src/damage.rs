//! Moves unreadable files to a directory of their own ("sets them aside"), so that they harm nothing else.
//!
//! ```text
//! <data>/damaged/
//!   instance-<name>/       a directory of `machines/` whose record cannot be read
//!   snapshot-<id>/         a directory of `snapshots/` that is not what was sealed
//!     reason.json          what is wrong, when it was found, and whose it is
//!     chain/<id>/          the snapshots that it stands on: hard links, so that its data can be read without the others
//! ```
//!
//! The node reads only `reason.json` of it. An operator can repair a file, from a backup perhaps, and move the
//! directory back while the service does not run: the next start takes it up ([`take_back`]). Directories that nobody
//! needs any more can be removed.
//!
//! The `node.json` of a snapshot names its instance. As that may be the unreadable file, an empty file in the same
//! directory has the instance's name in its own name ([`owner_file`]).

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hearth_snapshot::{OpenError, SnapshotId};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::directory::names;
use crate::error::{NodeError, failed};
use crate::layout::{DAMAGED, Layout, MachineName};
use crate::record::{self, NODE_FILE, ProcessRecord, SnapshotRecord, seconds_since_epoch};
use crate::write_lock;

/// Prefix of the directories of damaged instances.
pub(crate) const INSTANCE_PREFIX: &str = "instance-";

/// Prefix of the directories of damaged snapshots.
pub(crate) const SNAPSHOT_PREFIX: &str = "snapshot-";

/// Longest reason file that is read, in bytes. A reason is a sentence with some paths, but a VMM may have left a file
/// of any length in its place.
const MAX_REASON_BYTES: u64 = 64 << 10;

/// Name of the directory that holds the snapshots which a damaged one needs.
const CHAIN_DIRECTORY: &str = "chain";

/// Prefix of the name of the file that names the instance of a snapshot.
const OWNER_PREFIX: &str = "of-";

/// The argument before each directory that a VMM may write.
const WRITABLE_FLAG: &[u8] = b"--writable";

/// An instance or snapshot that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its directory now.
    pub path: PathBuf,
    /// The instance that it belongs to, if that could be read.
    pub instance: Option<String>,
    /// The reason: a sentence for the operator.
    pub reason: String,
    /// When it was found, in seconds since the epoch.
    pub found_at: u64,
}

impl Damage {
    /// Name of the directory below the data directory that holds everything that was set aside.
    pub const DIRECTORY: &str = DAMAGED;

    /// Name of the file in each directory that holds the reason.
    pub const REASON_FILE: &str = "reason.json";

    /// Describes the directory at `path` from the bytes of its reason file, if there is one.
    pub fn told(path: PathBuf, reason: Option<&[u8]>) -> Self {
        let form = reason.and_then(|reason| serde_json::from_slice::<ReasonForm>(reason).ok());
        let form = form.unwrap_or_else(|| ReasonForm {
            instance: None,
            reason: "the reason was not recorded; the service's log of that time may have it"
                .to_owned(),
            found_at: 0,
        });
        Self {
            path,
            instance: form.instance,
            reason: form.reason,
            found_at: form.found_at,
        }
    }

    /// The place below the data directory from which it was moved. `None` for a directory that the node did not set
    /// aside.
    pub fn home(&self) -> Option<PathBuf> {
        let label = self.path.file_name()?.to_str()?;
        // A number follows where the same was damaged before.
        let label = label.split_once('.').map_or(label, |(label, _)| label);
        let snapshot = label.strip_prefix(SNAPSHOT_PREFIX);
        let snapshot = snapshot.map(|id| Path::new("snapshots").join(id));
        let instance = || Some(Path::new("machines").join(label.strip_prefix(INSTANCE_PREFIX)?));
        snapshot.or_else(instance)
    }
}

/// The form of `reason.json`.
#[derive(Debug, Serialize, Deserialize)]
struct ReasonForm {
    instance: Option<String>,
    reason: String,
    found_at: u64,
}

/// Whether an error means that a file is not what was written. A file that could not be read or moved for lack of
/// descriptors, memory or disk space may be intact.
pub(crate) fn is_damage(error: &NodeError) -> bool {
    let source = match error {
        NodeError::Io { source, .. } => source,
        NodeError::Snapshot(OpenError::Read { source, .. }) => source,
        _ => return true,
    };
    let want = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::INTR,
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
    ];
    !want
        .iter()
        .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
}

/// Sets aside the directory of an instance. A process that still runs it is killed, as the node would not know it any
/// more.
pub(crate) fn set_aside_instance(
    layout: &Layout,
    name: &MachineName,
    error: &dyn std::error::Error,
) -> Result<(), NodeError> {
    kill_processes_of(&layout.own(name));
    let label = format!("{INSTANCE_PREFIX}{name}");
    let owner = name.to_string();
    set_aside(layout, &layout.machine(name), &label, Some(&owner), error)
}

/// Sets aside the directory of a snapshot.
pub(crate) fn set_aside_snapshot(
    layout: &Layout,
    id: SnapshotId,
    owner: Option<&str>,
    error: &dyn std::error::Error,
) -> Result<(), NodeError> {
    let directory = layout.snapshot(id);
    let owner = owner.map(str::to_owned).or_else(|| owner_of(&directory));
    set_aside(layout, &directory, &label_of(id), owner.as_deref(), error)
}

/// Sets aside the snapshot that a running instance stands on and that was not moved into place yet.
pub(crate) fn set_aside_known(
    layout: &Layout,
    name: &MachineName,
    id: SnapshotId,
    error: &dyn std::error::Error,
) -> Result<(), NodeError> {
    let owner = name.to_string();
    let from = layout.incoming(name);
    set_aside(layout, &from, &label_of(id), Some(&owner), error)
}

/// Name of the empty file in a snapshot's directory that names its instance.
pub(crate) fn owner_file(machine: &str) -> String {
    format!("{OWNER_PREFIX}{machine}")
}

/// The instance of a snapshot, from whichever of its files can be read.
fn owner_of(directory: &Path) -> Option<String> {
    let entries = names(directory).unwrap_or_default();
    let noted = entries
        .iter()
        .find_map(|name| name.strip_prefix(OWNER_PREFIX));
    // Snapshots of earlier releases have only the record, which may be readable where something else is not.
    noted
        .map(str::to_owned)
        .or_else(|| Some(snapshot_record(directory)?.machine))
}

fn snapshot_record(directory: &Path) -> Option<SnapshotRecord> {
    record::read(&directory.join(NODE_FILE)).ok()?
}

fn label_of(id: SnapshotId) -> String {
    format!("{SNAPSHOT_PREFIX}{id}")
}

fn set_aside(
    layout: &Layout,
    from: &Path,
    label: &str,
    instance: Option<&str>,
    error: &dyn std::error::Error,
) -> Result<(), NodeError> {
    let reason = with_causes(error);
    let damaged = layout.damaged();
    fs::create_dir_all(&damaged).map_err(failed("make the directory", &damaged))?;
    // Behind it snapshots are readable for everybody, as in their own place.
    fs::set_permissions(&damaged, Permissions::from_mode(0o700))
        .map_err(failed("close", &damaged))?;
    let to = free_name(&damaged, label);
    fs::rename(from, &to).map_err(failed("set aside", from))?;
    tracing::error!(
        instance,
        reason,
        path = %to.display(),
        "set aside as damaged; `hearth doctor` says what helps"
    );
    let form = ReasonForm {
        instance: instance.map(str::to_owned),
        reason,
        found_at: seconds_since_epoch(),
    };
    // On a full disk the directory's name still tells what it was.
    if let Err(error) = record::write(&to.join(Damage::REASON_FILE), &form) {
        tracing::warn!(%error, "cannot write why something was set aside");
    }
    if let Err(error) = keep_chain(layout, &to) {
        tracing::warn!(%error, path = %to.display(), "cannot keep the snapshots that a damaged one needs");
    }
    Ok(())
}

/// Links the snapshots that a damaged one needs into its directory. Steps among them are removed from their own place,
/// as nothing else needs them.
fn keep_chain(layout: &Layout, damaged: &Path) -> Result<(), NodeError> {
    let chain = damaged.join(CHAIN_DIRECTORY);
    for id in needs_of(damaged) {
        let from = layout.snapshot(id);
        if !from.is_dir() {
            continue;
        }
        let to = chain.join(id.to_string());
        fs::create_dir_all(&to).map_err(failed("make the directory", &to))?;
        for file in names(&from)? {
            let linked = write_lock::link(&from.join(&file), &to.join(&file));
            linked.map_err(failed("link into", &to))?;
        }
    }
    Ok(())
}

/// Renames directories that were moved back under the name that they have here to their own names. A snapshot of
/// another name would be swept.
pub(crate) fn take_back_names(directory: &Path, prefix: &str) -> Result<(), NodeError> {
    for entry in names(directory)? {
        let from = directory.join(&entry);
        let Some(label) = entry.strip_prefix(prefix) else {
            continue;
        };
        let to = directory.join(label.split_once('.').map_or(label, |(label, _)| label));
        if from.join(Damage::REASON_FILE).exists() && !to.exists() {
            fs::rename(&from, &to).map_err(failed("move back", &from))?;
        }
    }
    Ok(())
}

/// Takes up a snapshot that was moved back: the snapshots that it needs are moved back to their places, if they were
/// removed there meanwhile.
pub(crate) fn take_back(layout: &Layout, id: SnapshotId) -> Result<(), NodeError> {
    let directory = layout.snapshot(id);
    let chain = directory.join(CHAIN_DIRECTORY);
    if !chain.is_dir() {
        return Ok(());
    }
    for member in names(&chain)? {
        let (from, to) = (chain.join(&member), layout.snapshots().join(&member));
        if member.parse::<SnapshotId>().is_ok() && !to.exists() {
            fs::rename(&from, &to).map_err(failed("move back", &from))?;
        }
    }
    write_lock::remove_all(&chain)
}

/// The snapshots that a damaged directory needs, from whichever of its files can be read. The directory of an instance
/// may hold a snapshot that was not moved into place yet.
fn needs_of(directory: &Path) -> BTreeSet<SnapshotId> {
    let mut needs = BTreeSet::new();
    let incoming = directory.join("incoming");
    let outgoing = directory.join("vmm/snapshot");
    for place in [directory, &incoming, &outgoing] {
        if let Ok(description) = hearth_snapshot::describe(place) {
            needs.extend(description.ancestors);
        }
        let Some(record) = snapshot_record(place) else {
            continue;
        };
        let noted = record.shape.and_then(|shape| shape.ancestors().ok());
        needs.extend(noted.unwrap_or_default());
        let sealed = record.disks.iter().flat_map(|disk| &disk.sealed);
        needs.extend(sealed.filter_map(|(id, _)| id.parse::<SnapshotId>().ok()));
    }
    needs
}

/// Everything that was set aside below a data directory, oldest first.
///
/// # Errors
///
/// The directory cannot be listed. A missing directory is no error.
pub fn damaged_in(data: &Path) -> Result<Vec<Damage>, NodeError> {
    let directory = data.join(Damage::DIRECTORY);
    let entries = match names(&directory) {
        Err(NodeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut found: Vec<Damage> = entries
        .into_iter()
        .map(|entry| damage_at(directory.join(entry)))
        .collect();
    found.sort_by_key(|damage| damage.found_at);
    Ok(found)
}

/// Logs everything that was set aside by earlier starts, to remind the operator.
pub(crate) fn remind(layout: &Layout) {
    for damage in damaged_in(layout.data()).unwrap_or_default() {
        let (path, instance) = (damage.path.display(), damage.instance);
        tracing::warn!(
            instance,
            reason = damage.reason,
            %path,
            "still lies set aside as damaged; `hearth doctor` says what helps"
        );
    }
}

/// Why a snapshot was set aside, if it was.
pub(crate) fn reason_of(layout: &Layout, id: SnapshotId) -> Option<String> {
    if layout.snapshot(id).exists() {
        return None;
    }
    let path = layout.damaged().join(label_of(id));
    path.exists().then(|| damage_at(path).reason)
}

fn damage_at(path: PathBuf) -> Damage {
    let reason = path.join(Damage::REASON_FILE);
    let reason = hearth_snapshot::plain::read(&reason, MAX_REASON_BYTES).ok();
    Damage::told(path, reason.as_deref())
}

/// A name that is not taken: the same instance or snapshot may be damaged twice.
fn free_name(directory: &Path, label: &str) -> PathBuf {
    let numbered = (2..).map(|number| directory.join(format!("{label}.{number}")));
    std::iter::once(directory.join(label))
        .chain(numbered)
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| directory.join(label))
}

/// Kills the VMMs that were started to write `own`. They are found by their command lines, because their record is the
/// unreadable file.
fn kill_processes_of(own: &Path) {
    let own = own.as_os_str().as_encoded_bytes();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.windows(2).any(|pair| pair == [WRITABLE_FLAG, own])
            && let Some(process) = ProcessRecord::of(pid)
        {
            process.kill();
        }
    }
}
