//! The host that this process runs on.
//!
//! MicroVMs, builders and validators are instances of [`hearth_node::Node`]; their names say what they are:
//!
//! ```text
//! microvm-<uuid>    a microVM of the API
//! builder-<uuid>    runs the Dockerfile of that build
//! build-<uuid>      the application of that build before its snapshot; the snapshot is a template of this name
//! validate-<uuid>   a clone of that snapshot
//! ```
//!
//! No other record of these names exists: after a restart the instances are read from the node.

mod builds;
mod instances;
pub(crate) mod inventory;
mod lent;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hearth_control::arn::Scope;
use hearth_control::guest_call::{CallOutcome, GuestCall};
use hearth_control::host::{
    ArtifactRefusal, BuildEvent, BuildFailure, BuildSpec, Built, EventLog, Events, Host, HostError,
    HostOperation, Inventory, OperationId, Operations, Outcome, SnapshotRef, WaitingPlace,
};
use hearth_control::id::{AccountId, BuildId};
use hearth_control::image::ArtifactUri;
use hearth_control::instance::InstanceId;
use hearth_node::{AgentClient, MachineName, Node, ProcessMemory, ServiceListener, with_causes};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::build::VersionBuilder;
use crate::egress::ConnectorEgress;
use crate::monitor::Monitor;
use crate::output::OutputStore;

/// Serves a guest's streams to services of its host, while the guest's instance is followed.
pub trait GuestServer: Send + Sync + 'static {
    /// Serves the streams that arrive at `listener`: those of this instance.
    fn serve(
        &self,
        listener: ServiceListener,
        instance: InstanceId,
        account: AccountId,
    ) -> GuestServerTask;
}

/// The task that serves one guest. Dropping it ends the task and the guest's streams.
#[derive(Debug)]
pub struct GuestServerTask(JoinHandle<()>);

impl GuestServerTask {
    /// The guest is served while `task` runs.
    pub fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for GuestServerTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// This host.
#[derive(Clone)]
pub struct LocalHost(Arc<Inner>);

struct Inner {
    node: Node,
    logs: OutputStore,
    connector_egress: ConnectorEgress,
    version_builder: VersionBuilder,
    guest_server: Arc<dyn GuestServer>,
    operations: Operations,
    events: Arc<EventLog>,
    followed: Mutex<HashMap<InstanceId, Followed>>,
}

/// State in memory of an instance that this process launched, resumed or took up.
#[derive(Debug, Default)]
struct Followed {
    monitor: Option<Monitor>,
    /// Serves the guest's streams while the instance is followed.
    services: Option<GuestServerTask>,
    /// How often it was resumed.
    resumes: u64,
}

impl LocalHost {
    /// A host whose guests' output goes to `logs` and whose guests' streams go to `guest_server`.
    pub fn new(
        node: Node,
        logs: OutputStore,
        connector_egress: ConnectorEgress,
        version_builder: VersionBuilder,
        guest_server: Arc<dyn GuestServer>,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            logs,
            connector_egress,
            version_builder,
            guest_server,
            operations: Operations::default(),
            events: Arc::default(),
            followed: Mutex::default(),
        }))
    }

    /// The node of this host.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// The builder of image versions on this host.
    pub fn version_builder(&self) -> &VersionBuilder {
        &self.0.version_builder
    }

    /// How often this process has resumed an instance.
    pub fn resumes_of(&self, id: impl Into<InstanceId>) -> u64 {
        self.followed()
            .get(&id.into())
            .map_or(0, |followed| followed.resumes)
    }

    /// Memory of the processes of running instances. Reads a file in `/proc` for each process.
    pub fn memory(&self) -> Vec<(InstanceId, ProcessMemory)> {
        self.running()
            .into_iter()
            .filter_map(|(id, process)| Some((id, process.memory()?)))
            .collect()
    }

    /// Streams into a guest, whether or not it runs.
    ///
    /// # Errors
    ///
    /// Never: an id is a name too.
    pub fn agent(&self, id: impl Into<InstanceId>) -> Result<AgentClient, hearth_node::NodeError> {
        Ok(self.0.node.agent(&machine_name(id.into())?))
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<InstanceId, Followed>> {
        self.0
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of an instance on its node. Ids are shorter than names may be and use fewer letters.
fn machine_name(id: InstanceId) -> Result<MachineName, hearth_node::NodeError> {
    Ok(id.to_string().parse()?)
}

#[async_trait]
impl Host for LocalHost {
    async fn submit(&self, id: OperationId, operation: HostOperation) -> Result<(), HostError> {
        let host = self.clone();
        let perform = move |operation| async move { host.perform(id.instance, operation).await };
        self.0.operations.submit(id, operation, perform)
    }

    async fn outcome(&self, id: OperationId) -> Result<Outcome, HostError> {
        Ok(self.0.operations.outcome(id).await)
    }

    async fn discard(&self, id: InstanceId) -> Result<(), HostError> {
        let removed = self.perform(id, HostOperation::Remove).await;
        removed
            .map(drop)
            .map_err(|failure| HostError(failure.to_string()))
    }

    async fn call(&self, id: InstanceId, call: GuestCall) -> CallOutcome {
        self.call_guest(id, call).await
    }

    async fn build(
        &self,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure> {
        self.0
            .version_builder
            .build(&self.0.node, spec, progress)
            .await
    }

    async fn look_for_artifact(
        &self,
        scope: &Scope,
        artifact: &ArtifactUri,
    ) -> Result<(), ArtifactRefusal> {
        let artifacts = &self.0.version_builder.artifacts;
        artifacts.look_for(scope, artifact).await
    }

    async fn log_waiting(&self, spec: &BuildSpec, place: WaitingPlace) {
        self.0.version_builder.log_waiting(spec, place).await;
    }

    async fn discard_build(&self, id: BuildId) -> Result<(), HostError> {
        self.discard_files(id).await
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), HostError> {
        self.free(snapshot).await
    }

    async fn inventory(&self) -> Result<Inventory, HostError> {
        let host = self.clone();
        // It reads a file of each running process.
        let taken = tokio::task::spawn_blocking(move || host.take_inventory()).await;
        let taken = taken.map_err(|error| HostError(error.to_string()))?;
        taken.map_err(|error| HostError(with_causes(&error)))
    }

    async fn events(&self, since: u64) -> Events {
        self.0.events.since(since).await
    }
}
