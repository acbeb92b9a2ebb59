//! What the control plane needs from its host: everything that turns "run this version" into a process.
//!
//! *Host operations* change an instance. They have ids and outlive whoever asks for them:
//!
//! ```text
//! submit(id, operation) ──> under way: Busy, Busy, ... ──> Done or Failed, which stays the answer
//!        └── again, with the same id or for the same thing: joins what is under way
//! ```
//!
//! The contract that makes crashes and slow disks harmless:
//!
//! - Late is not failed. An operation is [`Outcome::Busy`] as long as it is under way, however long that takes, and only its own
//!   outcome ends it. There is no deadline on this side of the seam.
//! - An operation may be submitted again at any time, also after a restart of either side, and then joins or finishes what was
//!   begun, or does it again.
//! - Operations on one instance follow each other, except that [`HostOperation::Remove`] overtakes all others.
//! - What was done without being asked for is told by [`Host::events`], what there is by [`Host::inventory`].

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::arn::ImageArn;
use crate::guest_call::{CallOutcome, GuestCall};
use crate::id::{BuildId, VersionNumber};
use crate::image::{BuildSizes, ImageSpec};
use crate::instance::{Instance, InstanceId};
use crate::start_times::StartStep;
pub use crate::template::{SnapshotRef, Template};

mod events;
mod operations;

pub use events::{EventLog, Events};
pub use operations::Operations;

/// Names one operation: the instance, and the generation of its record at which the operation was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId {
    /// The instance.
    pub instance: InstanceId,
    /// The generation of its controller's record at that moment.
    pub generation: u64,
}

/// Something to be done with an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOperation {
    /// Clones a template, or what was reserved for a fork. When it is done, the guest is unique, thawed and may be called. After a
    /// failure nothing of it is left.
    Launch(Box<Instance>, LaunchOrigin),
    /// Seals where the instance is, running or suspended, and reserves that for a child; the instance goes on. When it is done,
    /// the layer is durable and stays until the child stands on it or is removed, whatever becomes of the parent.
    Seal {
        /// The child.
        child: InstanceId,
    },
    /// Freezes the instance and writes it to disk. When it is done, layer and checksums are durable and the process is gone; that
    /// end is no [`HostEvent::Ended`].
    Suspend(Box<Instance>),
    /// Brings a suspended instance back. When it is done, the guest is unique, thawed and may be called.
    Resume(Box<Instance>),
    /// Removes the instance with everything that belongs to it, in whatever condition. Done if there is none.
    Remove,
}

impl HostOperation {
    /// Whether both ask for the same thing, whatever else is known of the instance by now.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Seal { child }, Self::Seal { child: others }) => child == others,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// What is known of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way. Ask again.
    Busy,
    /// It is done.
    Done(Done),
    /// It was not done.
    Failed(Failure),
    /// The host knows nothing of it, perhaps because it was started anew. Submit it again.
    Unknown,
}

/// What an operation tells that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Of a seal, how long the parent stood still; `None` when it was suspended.
    pub paused: Option<Duration>,
    /// Of a launch or a resume, where the time went.
    pub steps: Vec<StartStep>,
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The host has no room for it.
    #[error("no capacity")]
    NoCapacity,
    /// The instance is as before: it runs on, is still suspended, or was never there. The text is for the log.
    #[error("{0}")]
    Unchanged(String),
    /// The instance is lost: neither a process nor a snapshot is left.
    #[error("lost: {0}")]
    Lost(String),
    /// The instance cannot be brought back until somebody has repaired it. The text names the file and what is wrong with it, for
    /// callers.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A removal has overtaken it.
    #[error("the instance is being removed")]
    Overtaken,
}

/// What a launch begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchOrigin {
    /// A template, as often as anybody likes.
    Template(Template),
    /// What [`HostOperation::Seal`] of its parent has reserved for it.
    Fork,
}

/// A failure of the host itself. The call can be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// What a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSpec {
    /// The build.
    pub id: BuildId,
    /// The image it is for.
    pub image: ImageArn,
    /// The version it makes.
    pub version: VersionNumber,
    /// What it is made from.
    pub spec: ImageSpec,
}

/// What a build tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// It has begun another part of its work.
    Phase(&'static str),
    /// A size became known.
    Sizes(BuildSizes),
}

/// What a successful build leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// What launches are cloned from.
    pub template: Template,
    /// What it takes on disk.
    pub sizes: BuildSizes,
}

/// Why a build failed. Nothing of it is left on the host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct BuildFailure {
    /// The sentence that callers see as `stateReason`.
    pub reason: String,
    /// What was known of its sizes.
    pub sizes: BuildSizes,
}

/// What the host has of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Presence {
    /// An operation is under way on it; what it is then is known afterwards.
    Busy,
    /// A process runs it.
    Running,
    /// It lies on disk, complete, without a process.
    Suspended,
    /// Pieces of it: an operation was interrupted, or it died.
    Debris,
    /// Its record or its snapshot cannot be read, and was set aside. The text names the file and what is wrong with it, for callers.
    Damaged(String),
}

/// What is on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The instances.
    pub instances: Vec<(InstanceId, Presence)>,
    /// The sealed snapshots of image versions, each with the build that made it.
    pub snapshots: Vec<(SnapshotRef, BuildId)>,
    /// The builds that are under way or left something behind.
    pub builds: Vec<BuildId>,
}

/// What happens on the host without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// An instance ended: its application left, or its VMM died. The reason is a sentence for `stateReason`, such
    /// as `Container Stopped with Exit Code: 1`.
    Ended {
        /// Which.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// Its memory is short, and asking guests for some of it was not enough. Told again as long as that is so.
    MemoryShort {
        /// The instances that hold more than they were promised.
        beyond: Vec<InstanceId>,
    },
}

/// Everything behind the control plane's seam.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Begins an operation, or joins one that is under way for the same thing. Answers once the host has taken it.
    async fn submit(&self, id: OperationId, operation: HostOperation) -> Result<(), HostError>;

    /// What became of an operation. Waits a while for it before it answers [`Outcome::Busy`].
    async fn outcome(&self, id: OperationId) -> Result<Outcome, HostError>;

    /// Removes what there is of an instance that has no record, if there is anything.
    async fn discard(&self, id: InstanceId) -> Result<(), HostError>;

    /// Calls the application of a running instance once and waits for the answer, no longer than the call's timeout.
    async fn call(&self, id: InstanceId, call: GuestCall) -> CallOutcome;

    /// Builds a version, telling of progress. Sends that are not taken must not stop it.
    async fn build(
        &self,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure>;

    /// Ends a build, if it is under way, and removes what it left. A snapshot that it sealed stays.
    async fn discard_build(&self, id: BuildId) -> Result<(), HostError>;

    /// Removes a sealed snapshot. Succeeds if it does not exist.
    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), HostError>;

    /// Everything that is there.
    async fn inventory(&self) -> Result<Inventory, HostError>;

    /// What happened after event number `since`, waiting until there is something. Zero is before the first event.
    async fn events(&self, since: u64) -> Events;
}
