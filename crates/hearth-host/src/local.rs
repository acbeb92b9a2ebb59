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
//! Nothing is remembered beside these names: what there is after a restart is read from the node.

mod builds;
mod instances;
pub(crate) mod inventory;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hearth_control::guest_call::{CallOutcome, GuestCall};
use hearth_control::host::{
    BuildEvent, BuildFailure, BuildSpec, Built, EventLog, Events, Host, HostError, HostOperation,
    Inventory, OperationId, Operations, Outcome, SnapshotRef,
};
use hearth_control::id::{AccountId, BuildId};
use hearth_control::instance::InstanceId;
use hearth_logs::LogStore;
use hearth_node::{AgentClient, MachineName, Node, ProcessMemory, ServiceListener, with_causes};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::build::Workshop;
use crate::egress::Openings;
use crate::monitor::Monitor;

/// Opens what a guest reaches of the service, from when its instance is followed until it is not.
pub trait GuestDoors: Send + Sync + 'static {
    /// Serves the streams that come in by `listener`, which are that microVM's.
    fn open(&self, listener: ServiceListener, instance: InstanceId, account: AccountId)
    -> OpenDoor;
}

/// An open door; dropping it closes it and what goes through it.
#[derive(Debug)]
pub struct OpenDoor(JoinHandle<()>);

impl OpenDoor {
    /// A door that is open as long as a task runs.
    pub fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// This host.
#[derive(Clone)]
pub struct LocalHost(Arc<Inner>);

struct Inner {
    node: Node,
    logs: Arc<LogStore>,
    openings: Openings,
    workshop: Workshop,
    doors: Arc<dyn GuestDoors>,
    operations: Operations,
    events: Arc<EventLog>,
    watches: Mutex<HashMap<InstanceId, Watch>>,
}

/// What is kept in memory of an instance that was launched, resumed or taken up by this process.
#[derive(Debug, Default)]
struct Watch {
    monitor: Option<Monitor>,
    /// Through which its guest reaches the service while it is followed.
    door: Option<OpenDoor>,
    /// How often it was resumed.
    resumes: u64,
}

impl LocalHost {
    /// A host whose guests' output goes to `logs` and whose guests' streams go through `doors`.
    pub fn new(
        node: Node,
        logs: Arc<LogStore>,
        openings: Openings,
        workshop: Workshop,
        doors: Arc<dyn GuestDoors>,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            logs,
            openings,
            workshop,
            doors,
            operations: Operations::default(),
            events: Arc::default(),
            watches: Mutex::default(),
        }))
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// What its builds are made with.
    pub fn workshop(&self) -> &Workshop {
        &self.0.workshop
    }

    /// How often an instance was resumed since this process knows it.
    pub fn resumes_of(&self, id: impl Into<InstanceId>) -> u64 {
        self.watches()
            .get(&id.into())
            .map_or(0, |watch| watch.resumes)
    }

    /// What the processes of running instances take of this host's memory. Reads a file of each process.
    pub fn memory(&self) -> Vec<(InstanceId, ProcessMemory)> {
        let processes: Vec<_> = self
            .watches()
            .iter()
            .filter_map(|(id, watch)| Some((*id, watch.monitor.as_ref()?.process())))
            .collect();
        processes
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

    fn watches(&self) -> MutexGuard<'_, HashMap<InstanceId, Watch>> {
        self.0
            .watches
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
        self.0.workshop.build(&self.0.node, spec, progress).await
    }

    async fn discard_build(&self, id: BuildId) -> Result<(), HostError> {
        self.discard_files(id).await
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), HostError> {
        self.free(snapshot).await
    }

    async fn inventory(&self) -> Result<Inventory, HostError> {
        let host = self.clone();
        // It looks at a file of each running process.
        let taken = tokio::task::spawn_blocking(move || host.take_inventory()).await;
        let taken = taken.map_err(|error| HostError(error.to_string()))?;
        taken.map_err(|error| HostError(with_causes(&error)))
    }

    async fn events(&self, since: u64) -> Events {
        self.0.events.since(since).await
    }
}
