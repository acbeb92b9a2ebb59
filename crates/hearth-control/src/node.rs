//! What the control plane needs from the node: everything on one host that turns "run this version" into
//! a process.
//!
//! The contract that makes crashes harmless:
//!
//! - Every method may be called again with the same id, also after a restart of either side, and then
//!   finishes or repeats what the first call began.
//! - A future that is dropped leaves at worst something that `terminate` of that id, or reconciliation
//!   over [`Node::inventory`], removes.
//! - The control plane has at most one call under way per microVM (a fork counts for the parent), except that `terminate`
//!   may come at any moment and overtakes all others.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::arn::{ConnectorRef, ImageArn};
use crate::hooks::{ActiveHook, HookOutcome};
use crate::id::{BuildId, EndpointId, MicrovmId, VersionNumber};
use crate::image::{BuildSizes, ImageSpec, Logging, MemoryTier};
use crate::microvm::{Microvm, RunHookPayload};
use crate::time::Timestamp;

/// A sealed snapshot on the node. Opaque here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotRef(pub String);

/// What a launch begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchOrigin {
    /// The snapshot of a version.
    Version(SnapshotRef),
    /// What [`Node::fork`] has reserved for it.
    Fork,
}

/// What a launch needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The microVM to be.
    pub id: MicrovmId,
    /// What to clone.
    pub origin: LaunchOrigin,
    /// The image, for the application's environment and the default log group.
    pub image: ImageArn,
    /// The version, for the same.
    pub version: VersionNumber,
    /// The address that traffic comes in by.
    pub endpoint_id: EndpointId,
    /// The size.
    pub tier: MemoryTier,
    /// The role whose credentials the guest may ask for.
    pub execution_role_arn: Option<String>,
    /// The ways in.
    pub ingress: Vec<ConnectorRef>,
    /// The ways out.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of the application goes.
    pub logging: Option<Logging>,
    /// When it was asked for: the day in the name of its log stream.
    pub started_at: Timestamp,
}

/// One call of a hook of a running microVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCall {
    /// Which hook, on which port, for how long.
    pub hook: ActiveHook,
    /// The string inside the body of `/run`; the other hooks have no body.
    pub payload: Option<RunHookPayload>,
}

/// Why a launch came to nothing. Nothing of it is left on the node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LaunchError {
    /// The host has no room for it.
    #[error("no capacity")]
    NoCapacity,
    /// Anything else, as a sentence for the log.
    #[error("{0}")]
    Failed(String),
}

/// A parent that was sealed for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// How long it stood still; `None` when it was suspended.
    pub paused: Option<Duration>,
}

/// Why a microVM was not forked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForkError {
    /// The parent is as before; nothing of the layer and nothing of the child is left.
    #[error("not forked: {0}")]
    Unchanged(String),
    /// The parent is lost.
    #[error("lost: {0}")]
    Lost(String),
}

/// Why a suspend did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuspendError {
    /// The microVM runs on as before; nothing of the snapshot is left.
    #[error("still running: {0}")]
    StillRunning(String),
    /// The microVM is lost.
    #[error("lost: {0}")]
    Lost(String),
}

/// Why a resume did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResumeError {
    /// The microVM is suspended as before and can be resumed later.
    #[error("still suspended: {0}")]
    StillSuspended(String),
    /// The microVM is lost.
    #[error("lost: {0}")]
    Lost(String),
}

/// A failure of the node itself. The call can be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NodeError(pub String);

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
    pub snapshot: SnapshotRef,
    /// What it takes on disk.
    pub sizes: BuildSizes,
}

/// Why a build failed. Nothing of it is left on the node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct BuildFailure {
    /// The sentence that callers see as `stateReason`.
    pub reason: String,
    /// What was known of its sizes.
    pub sizes: BuildSizes,
}

/// What the node has of one microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// A process runs it.
    Running,
    /// It lies on disk, complete, without a process.
    Suspended,
    /// Pieces of it: an operation was interrupted, or it died.
    Debris,
}

/// What is on the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The microVMs.
    pub microvms: Vec<(MicrovmId, Presence)>,
    /// The sealed snapshots of image versions, each with the build that made it.
    pub snapshots: Vec<(SnapshotRef, BuildId)>,
    /// The builds that are under way or left something behind.
    pub builds: Vec<BuildId>,
}

/// What happens on the node without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// A microVM ended: its application left, or its VMM died. The reason is a sentence for `stateReason`, such
    /// as `Container Stopped with Exit Code: 1`.
    Ended {
        /// Which.
        id: MicrovmId,
        /// Why.
        reason: String,
    },
}

/// One host's machinery.
#[async_trait]
pub trait Node: Send + Sync + 'static {
    /// Seals where a parent is, running or suspended, and reserves that for a child; the parent goes on. When it
    /// returns, the layer is durable and stays until the child stands on it or is terminated, whatever becomes of
    /// the parent. A call that is given up ends by itself, and never leaves the parent standing still.
    async fn fork(&self, parent: MicrovmId, child: MicrovmId) -> Result<Sealed, ForkError>;

    /// Clones a version, or what was reserved. When it returns, the guest is unique, thawed and may be called.
    async fn launch(&self, spec: LaunchSpec) -> Result<(), LaunchError>;

    /// Freezes a microVM and writes it to disk. When it returns, layer and checksums are durable and the
    /// process is gone; that end is no [`NodeEvent::Ended`].
    async fn suspend(&self, id: MicrovmId) -> Result<(), SuspendError>;

    /// Brings a suspended microVM back. When it returns, the guest is unique, thawed and may be called.
    async fn resume(&self, microvm: &Microvm) -> Result<(), ResumeError>;

    /// Removes a microVM with everything that belongs to it, in whatever condition. Of nothing, it is a success.
    async fn terminate(&self, id: MicrovmId) -> Result<(), NodeError>;

    /// Calls a hook once and waits for the answer, no longer than its timeout.
    async fn call_hook(&self, id: MicrovmId, call: HookCall) -> HookOutcome;

    /// Builds a version, telling of progress. Sends that are not taken must not stop it.
    async fn build(
        &self,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure>;

    /// Ends a build, if it is under way, and removes what it left. A snapshot that it sealed stays.
    async fn discard_build(&self, id: BuildId) -> Result<(), NodeError>;

    /// Removes a sealed snapshot. Of none, it is a success.
    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), NodeError>;

    /// Everything that is there.
    async fn inventory(&self) -> Result<Inventory, NodeError>;

    /// Waits for the next event. Dropping the future loses none.
    async fn next_event(&self) -> NodeEvent;
}
