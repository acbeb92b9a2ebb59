//! The seam between control plane and host: everything that turns "run this version" into a process.
//!
//! *Host operations* change an instance. They have ids and outlive their caller:
//!
//! ```text
//! submit(id, operation) ──> under way: Busy, Busy, ... ──> Done or Failed, which stays the answer
//!        └── again, with the same id or for the same thing: joins what is under way
//! ```
//!
//! The contract that makes crashes and slow disks harmless:
//!
//! - A slow operation is not a failed one. It is [`Outcome::Busy`] as long as it is under way, however long that
//!   takes, and only its own outcome ends it. The control plane sets no deadline.
//! - An operation may be submitted again at any time, also after a restart of either side. The host then joins or
//!   finishes what was begun, or does it again.
//! - Operations on one instance run one after the other, except that [`HostOperation::Remove`] overtakes all others.
//! - [`Host::events`] tells what happened unasked. [`Host::inventory`] tells what exists.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::arn::{ImageArn, Scope};
use crate::guest_call::{CallOutcome, GuestCall};
use crate::id::{BuildId, VersionNumber};
use crate::image::{ArtifactUri, BuildSizes, ImageSpec};
use crate::instance::{Instance, InstanceId};
use crate::start_times::StartStep;
pub use crate::template::{SnapshotRef, Template};

mod events;
mod operations;

pub use events::{EventLog, Events};
pub use operations::Operations;

/// Identifies one operation: the instance, and the generation of its record when the operation was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId {
    /// The instance.
    pub instance: InstanceId,
    /// The generation of the controller's record at that moment.
    pub generation: u64,
}

/// A change of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOperation {
    /// Clones a template, or the layer that was reserved for a fork. When it is done, the guest is unique, thawed and
    /// may be called. A failed launch leaves nothing behind.
    Launch(Box<Instance>, LaunchOrigin),
    /// Seals the present state of the instance, running or suspended, as a layer and reserves it for a child. The
    /// instance goes on. When it is done, the layer is durable. It stays until the child is launched from it or
    /// removed, even if the parent is removed.
    Seal {
        /// The child that the layer is reserved for.
        child: InstanceId,
    },
    /// Freezes the instance and writes it to disk. When it is done, layer and checksums are durable and the process
    /// is gone. That end of the process is not reported as [`HostEvent::Ended`].
    Suspend(Box<Instance>),
    /// Resumes a suspended instance. When it is done, the guest is unique, thawed and may be called.
    Resume(Box<Instance>),
    /// Removes the instance and all that belongs to it, in whatever condition. Succeeds if it does not exist.
    Remove,
}

impl HostOperation {
    /// Whether both operations ask for the same change, even if details of the instance differ by now.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Seal { child }, Self::Seal { child: others }) => child == others,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// What the host knows of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The operation is under way. Ask again.
    Busy,
    /// The operation succeeded.
    Done(Done),
    /// The operation failed.
    Failed(OperationFailure),
    /// The host does not know the operation, for example after a restart. Submit it again.
    Unknown,
}

/// The result of a successful operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// After a seal: how long the parent stood still. `None` if it was suspended.
    pub paused: Option<Duration>,
    /// After a launch or a resume: how long each step took.
    pub steps: Vec<StartStep>,
}

/// Why a host operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperationFailure {
    /// The host lacks the memory, disk space or other room for it.
    #[error("no capacity")]
    NoCapacity,
    /// The instance is as before: still running, still suspended, or never there. The text is for the log.
    #[error("{0}")]
    Unchanged(String),
    /// The instance is lost: neither a process nor a snapshot is left.
    #[error("lost: {0}")]
    Lost(String),
    /// The instance cannot be resumed until somebody has repaired it. The text is for callers and names the file and
    /// what is wrong with it.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A removal has overtaken the operation.
    #[error("the instance is being removed")]
    Overtaken,
}

/// What a launch begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchOrigin {
    /// A template. It can be cloned any number of times.
    Template(Template),
    /// The layer that [`HostOperation::Seal`] of the parent has reserved for this instance.
    Fork,
}

/// A failure of the host itself. The call can be retried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// The input of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSpec {
    /// The id of the build.
    pub id: BuildId,
    /// The image that is built.
    pub image: ImageArn,
    /// The version that is built.
    pub version: VersionNumber,
    /// The specification of the version.
    pub spec: ImageSpec,
}

/// The place of a build among the waiting builds of its account. Accounts take turns, so builds of others may begin in
/// between; how many wait is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingPlace {
    /// Counts from one.
    pub place: usize,
    /// How many builds of the account wait.
    pub of: usize,
}

/// The progress of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// The build entered this phase.
    Phase(&'static str),
    /// A size became known.
    Sizes(BuildSizes),
}

/// The result of a successful build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The template that launches are cloned from.
    pub template: Template,
    /// The sizes on disk.
    pub sizes: BuildSizes,
}

/// Why a build failed. A failed build leaves nothing on the host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct BuildFailure {
    /// A sentence for callers, shown as `stateReason`.
    pub reason: String,
    /// The sizes that were known when the build failed.
    pub sizes: BuildSizes,
}

/// Why the artifact of a version cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ArtifactRefusal {
    /// S3 has no such bucket in this account.
    #[error("there is no such bucket")]
    NoBucket,
    /// The bucket has no such object.
    #[error("there is no such object")]
    NoKey,
    /// The account, or this service for it, may not read it.
    #[error("access is denied")]
    Denied,
}

/// What the host has of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Presence {
    /// An operation is under way on the instance. Its condition is known afterwards.
    Busy,
    /// A process runs the instance.
    Running,
    /// The instance is on disk, complete, without a process.
    Suspended,
    /// Only pieces are left: an operation was interrupted, or the process died.
    Debris,
    /// The record or the snapshot cannot be read and was set aside. The text is for callers and names the file and
    /// what is wrong with it.
    Damaged(String),
}

/// What exists on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The instances, each with its condition.
    pub instances: Vec<(InstanceId, Presence)>,
    /// The sealed snapshots of image versions, each with the build that made it.
    pub snapshots: Vec<(SnapshotRef, BuildId)>,
    /// The builds that are under way or have left something behind.
    pub builds: Vec<BuildId>,
}

/// An event on the host that no operation asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// An instance ended: its application exited, or its VMM died. The reason is a sentence for `stateReason`, such
    /// as `Container Stopped with Exit Code: 1`.
    Ended {
        /// The instance.
        id: InstanceId,
        /// The reason: a sentence.
        reason: String,
    },
    /// Its memory is short, and asking guests for some of it was not enough. Told again as long as that is so.
    MemoryShort {
        /// The instances that hold more than they were promised.
        beyond: Vec<InstanceId>,
    },
}

/// The host: everything behind the control plane's seam.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Begins an operation, or joins one that is under way for the same change. Returns once the host has accepted
    /// it.
    async fn submit(&self, id: OperationId, operation: HostOperation) -> Result<(), HostError>;

    /// Returns the outcome of an operation. Waits some seconds for it before it answers [`Outcome::Busy`].
    async fn outcome(&self, id: OperationId) -> Result<Outcome, HostError>;

    /// Removes an instance that has no record. No-op if absent.
    async fn discard(&self, id: InstanceId) -> Result<(), HostError>;

    /// Calls the application of a running instance once. Waits for the answer no longer than the call's timeout.
    async fn call(&self, id: InstanceId, call: GuestCall) -> CallOutcome;

    /// Looks whether the artifact of a version can be read, before a build is promised. Succeeds if S3 does not answer:
    /// the build will look again.
    async fn look_for_artifact(
        &self,
        scope: &Scope,
        artifact: &ArtifactUri,
    ) -> Result<(), ArtifactRefusal>;

    /// Writes into the log of a build that waits which place it has among the waiting builds of its account.
    async fn log_waiting(&self, spec: &BuildSpec, place: WaitingPlace);

    /// Builds a version and reports its progress. The build must not wait for a full or closed `progress` channel.
    async fn build(
        &self,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure>;

    /// Cancels a build if it is under way, and removes what it left. A snapshot that it sealed stays.
    async fn discard_build(&self, id: BuildId) -> Result<(), HostError>;

    /// Removes a sealed snapshot. Succeeds if it does not exist.
    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), HostError>;

    /// Lists everything that exists on the host.
    async fn inventory(&self) -> Result<Inventory, HostError>;

    /// Returns the events after number `since`. Waits until there is one. Zero stands for the beginning.
    async fn events(&self, since: u64) -> Events;
}
