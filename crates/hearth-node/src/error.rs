//! The error type of the node's operations.

use std::io;
use std::path::PathBuf;

use hearth_snapshot::{OpenError, SnapshotId};

use crate::agent::AgentError;
use crate::vmm::VmmError;

/// Why an operation of the node failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A text is not a valid name of a microVM.
    #[error(transparent)]
    Name(#[from] crate::layout::NameError),
    /// A microVM of that name exists already.
    #[error(
        "there is a microVM {0} already; if its process is dead, `hearth machine sweep` settles what is left of it"
    )]
    Exists(String),
    /// There is no microVM of that name.
    #[error("there is no microVM {0}; `hearth machine ls` lists them")]
    UnknownMachine(String),
    /// A machine has no writable disk of that serial number.
    #[error("the machine has no writable disk {0}")]
    UnknownDisk(String),
    /// There is no snapshot with that id.
    #[error("there is no snapshot {0}; `hearth snapshot ls` lists them")]
    UnknownSnapshot(String),
    /// Several snapshot ids begin with the given text.
    #[error("{0} is the beginning of several snapshot ids")]
    AmbiguousSnapshot(String),
    /// A snapshot is the parent of another one.
    #[error("snapshot {id} is an ancestor of {child}; delete that first")]
    HasChildren {
        /// The snapshot that was to be deleted.
        id: SnapshotId,
        /// A snapshot that needs it.
        child: SnapshotId,
    },
    /// A running microVM stands on the snapshot.
    #[error("snapshot {id} is in use by microVM {machine}; terminate that first")]
    InUse {
        /// The snapshot that was to be deleted.
        id: SnapshotId,
        /// A microVM that stands on it.
        machine: String,
    },
    /// An operation that is under way uses the snapshot.
    #[error("snapshot {0} is being used by an operation; try again when that has ended")]
    BeingUsed(SnapshotId),
    /// The directory of a snapshot holds another one.
    #[error("{path} holds snapshot {found}")]
    Mistaken {
        /// The directory.
        path: PathBuf,
        /// Id of the snapshot in it.
        found: SnapshotId,
    },
    /// The instance was removed while another operation on it was under way.
    #[error("microVM {0} is being removed")]
    Removed(String),
    /// A suspended instance cannot be restored: a retry cannot help.
    #[error("the snapshot of microVM {name} is damaged: {reason}")]
    Damaged {
        /// The instance.
        name: String,
        /// The damaged file, and what is wrong with it.
        reason: String,
    },
    /// A task of the node panicked.
    #[error("an operation of the node panicked; its log says where")]
    Panicked,
    /// A snapshot failed after the disks had moved to new overlays.
    #[error(
        "a snapshot of microVM {0} failed after its disks had moved on; it can run and be terminated, but not be snapshotted or suspended"
    )]
    DisksDiverged(String),
    /// The snapshot has a network card, but this node has no networks.
    #[error(
        "{0} was made with a network card, and this node has no networks; its log says why, and what helps"
    )]
    NoNetwork(String),
    /// All users of the configured range are taken.
    #[error("all users of the configured range run a microVM; widen the range")]
    NoUser,
    /// The users of VMMs cannot read a file outside the data directory.
    #[error("a microVM's VMM is a user of its own, who cannot read {0}; allow it: chmod a+r {0}")]
    Unreadable(PathBuf),
    /// The network of a microVM could not be made.
    #[error(transparent)]
    Network(#[from] hearth_net::NetworkError),
    /// The kernel's control groups lack a controller.
    #[error(
        "the kernel's control groups have no controller {0}; see /sys/fs/cgroup/cgroup.controllers, or start without limits"
    )]
    NoController(&'static str),
    /// A file operation failed.
    #[error("cannot {step} ({path})")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// The file or directory of that step.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A record of the node cannot be parsed.
    #[error("{path} is not a record of this Hearth")]
    Record {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A record of the node does not have its checksum.
    #[error("{0} is corrupt (checksum)")]
    Checksum(PathBuf),
    /// A snapshot cannot be opened.
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    /// A VMM sealed another snapshot than it was asked for.
    #[error("{path} is not what its VMM was asked for: {what}")]
    NotAsked {
        /// The snapshot.
        path: PathBuf,
        /// The difference.
        what: String,
    },
    /// The VMM process did not start, or a request to it failed.
    #[error(transparent)]
    Vmm(#[from] VmmError),
    /// A request to the agent failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Wraps the error of a file operation with its step and path.
pub(crate) fn failed(
    step: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |source| NodeError::Io { step, path, source }
}
