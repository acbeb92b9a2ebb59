//! What can go wrong between "run this snapshot" and a running guest.

use std::io;
use std::path::PathBuf;

use hearth_snapshot::{OpenError, SnapshotId};

use crate::agent::AgentError;
use crate::vmm::VmmError;

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A text that cannot be the name of a microVM.
    #[error(transparent)]
    Name(#[from] crate::layout::NameError),
    /// A microVM of that name is there already.
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
    /// More than one snapshot begins like that.
    #[error("{0} is the beginning of several snapshot ids")]
    AmbiguousSnapshot(String),
    /// A snapshot is the parent of another one.
    #[error("snapshot {id} is an ancestor of {child}; delete that first")]
    HasChildren {
        /// The snapshot that was to be deleted.
        id: SnapshotId,
        /// One that needs it.
        child: SnapshotId,
    },
    /// A snapshot is what a running microVM stands on.
    #[error("snapshot {id} is in use by microVM {machine}; terminate that first")]
    InUse {
        /// The snapshot that was to be deleted.
        id: SnapshotId,
        /// A microVM that stands on it.
        machine: String,
    },
    /// A snapshot is what an operation is about to stand on.
    #[error("snapshot {0} is being used by an operation; try again when that has ended")]
    BeingUsed(SnapshotId),
    /// The directory of a snapshot holds another one.
    #[error("{path} holds snapshot {found}")]
    Mistaken {
        /// The directory.
        path: PathBuf,
        /// What lies in it.
        found: SnapshotId,
    },
    /// An instance was removed while something else was done with it.
    #[error("microVM {0} is being removed")]
    Removed(String),
    /// A suspended instance cannot be restored, now or later.
    #[error("the snapshot of microVM {name} is damaged: {reason}")]
    Damaged {
        /// The instance.
        name: String,
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// A task of the node panicked.
    #[error("an operation of the node panicked; its log says where")]
    Panicked,
    /// A snapshot failed half-way.
    #[error(
        "a snapshot of microVM {0} failed after its disks had moved on; it can run and be terminated, but not be snapshotted or suspended"
    )]
    DisksDiverged(String),
    /// A snapshot has a network card, and this node has no networks.
    #[error(
        "{0} was made with a network card, and this node has no networks; its log says why, and what helps"
    )]
    NoNetwork(String),
    /// Every user of the range has a machine.
    #[error("all users of the configured range run a microVM; widen the range")]
    NoUser,
    /// A file outside of the data directory is not for the users that VMMs are.
    #[error("a microVM's VMM is a user of its own, who cannot read {0}; allow it: chmod a+r {0}")]
    Unreadable(PathBuf),
    /// No network could be made.
    #[error(transparent)]
    Network(#[from] hearth_net::NetworkError),
    /// The kernel's control groups lack something.
    #[error(
        "the kernel's control groups have no controller {0}; see /sys/fs/cgroup/cgroup.controllers, or start without limits"
    )]
    NoController(&'static str),
    /// A file operation failed.
    #[error("cannot {step} ({path})")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A record of the node does not parse.
    #[error("{path} is not a record of this Hearth")]
    Record {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A record of the node was changed by something else.
    #[error("{0} is corrupt (checksum)")]
    Checksum(PathBuf),
    /// A snapshot is not acceptable.
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    /// A VMM sealed something else than it was asked for.
    #[error("{path} is not what its VMM was asked for: {what}")]
    NotAsked {
        /// The snapshot.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The VMM process did not start, or did not do what it was asked.
    #[error(transparent)]
    Vmm(#[from] VmmError),
    /// The agent did not answer, or refused.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Names the step and the path of a failed file operation.
pub(crate) fn failed(
    step: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |source| NodeError::Io { step, path, source }
}
