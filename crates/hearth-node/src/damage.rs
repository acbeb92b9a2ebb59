//! What cannot be read is set aside, so that it harms nothing else.
//!
//! ```text
//! <data>/damaged/
//!   instance-<name>/       a directory of `machines/` whose record cannot be read
//!   snapshot-<id>/         a directory of `snapshots/` that is not what was sealed
//!     reason.json          what is wrong, when it was found, and whose it is
//! ```
//!
//! Nothing in it is ever read again but `reason.json`. An operator who has repaired a file, from a backup perhaps, moves the
//! directory back while the service does not run; one who has seen enough removes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hearth_snapshot::SnapshotId;
use serde::{Deserialize, Serialize};

use crate::error::{NodeError, failed};
use crate::layout::{Layout, MachineName};
use crate::record::{self, ProcessRecord, seconds_since_epoch};
use crate::records::names;

/// Name of the file that says what is wrong.
const REASON_FILE: &str = "reason.json";

/// Something that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it lies now.
    pub path: PathBuf,
    /// The instance that it belongs to, if that could be read.
    pub instance: Option<String>,
    /// What is wrong: a sentence for the operator.
    pub reason: String,
    /// Seconds since the epoch.
    pub found_at: u64,
}

/// The form of `reason.json`.
#[derive(Debug, Serialize, Deserialize)]
struct ReasonForm {
    instance: Option<String>,
    reason: String,
    found_at: u64,
}

/// Sets aside the directory of an instance. A process that still runs it is killed: nobody would know it any more.
pub(crate) fn set_aside_instance(
    layout: &Layout,
    name: &MachineName,
    error: &dyn std::error::Error,
) -> Result<(), NodeError> {
    kill_processes_of(&layout.own(name));
    let label = format!("instance-{name}");
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
    let label = format!("snapshot-{id}");
    // Its record may be readable where something else is not.
    let read =
        record::read::<crate::record::SnapshotRecord>(&layout.snapshot(id).join(record::NODE_FILE));
    let read = read.ok().flatten().map(|record| record.machine);
    let owner = owner.map(str::to_owned).or(read);
    set_aside(
        layout,
        &layout.snapshot(id),
        &label,
        owner.as_deref(),
        error,
    )
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
    let to = free_name(&damaged, label);
    fs::rename(from, &to).map_err(failed("set aside", from))?;
    tracing::error!(instance, reason, path = %to.display(), "set aside as damaged");
    let form = ReasonForm {
        instance: instance.map(str::to_owned),
        reason,
        found_at: seconds_since_epoch(),
    };
    // On a full disk the directory's name still tells what it was.
    if let Err(error) = record::write(&to.join(REASON_FILE), &form) {
        tracing::warn!(%error, "why something was set aside is not written down");
    }
    Ok(())
}

/// Everything that was set aside, oldest first.
pub(crate) fn list(layout: &Layout) -> Result<Vec<Damage>, NodeError> {
    let directory = layout.damaged();
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

fn damage_at(path: PathBuf) -> Damage {
    match record::read::<ReasonForm>(&path.join(REASON_FILE)) {
        Ok(Some(form)) => Damage {
            path,
            instance: form.instance,
            reason: form.reason,
            found_at: form.found_at,
        },
        Ok(None) | Err(_) => Damage {
            path,
            instance: None,
            reason: "the reason was not written down; the log of that time may have it".to_owned(),
            found_at: 0,
        },
    }
}

/// A name that nothing has yet: the same may be damaged twice.
fn free_name(directory: &Path, label: &str) -> PathBuf {
    let numbered = (2..).map(|number| directory.join(format!("{label}.{number}")));
    std::iter::once(directory.join(label))
        .chain(numbered)
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| directory.join(label))
}

/// Kills the VMMs that were started to write `own`. Their record is what cannot be read, so their command line is all that says it.
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
        if line.split(|byte| *byte == 0).any(|word| word == own)
            && let Some(process) = ProcessRecord::of(pid)
        {
            process.kill();
        }
    }
}

/// An error with all its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
