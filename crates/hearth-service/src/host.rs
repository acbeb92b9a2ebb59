//! The control plane's node over this host.
//!
//! MicroVMs, builders and validators are machines of [`hearth_node::Node`]; their names say what they are:
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
mod forks;
mod holdings;
pub(crate) mod inventory;
mod microvms;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hearth_control::hooks::HookOutcome;
use hearth_control::id::{BuildId, MicrovmId};
use hearth_control::microvm::Microvm;
use hearth_control::node::{
    BuildEvent, BuildFailure, BuildSpec, Built, ForkError, HookCall, Inventory, LaunchError,
    LaunchSpec, NodeError, NodeEvent, ResumeError, Sealed, SnapshotRef, SuspendError,
};
use hearth_logs::LogStore;
use hearth_node::{AgentClient, MachineName, Node, ProcessMemory};
use tokio::sync::mpsc;

use crate::build::Workshop;
use crate::guest_services::{GuestServices, OpenDoor};
use crate::monitor::Monitor;
use crate::openings::Openings;
pub(crate) use holdings::HostDisks;

/// Ends of microVMs that may wait for the control plane; then their monitors wait.
const EVENT_QUEUE: usize = 256;

/// This host.
pub(crate) struct HostNode {
    node: Node,
    logs: Arc<LogStore>,
    openings: Openings,
    workshop: Workshop,
    services: GuestServices,
    running: Mutex<HashMap<MicrovmId, Watch>>,
    ended: mpsc::Sender<NodeEvent>,
    events: tokio::sync::Mutex<mpsc::Receiver<NodeEvent>>,
}

/// What is kept in memory of a microVM that was launched, resumed or taken up by this process.
#[derive(Debug, Default)]
struct Watch {
    monitor: Option<Monitor>,
    /// Through which its guest reaches this service while it is followed.
    door: Option<OpenDoor>,
    /// How often it was resumed.
    resumes: u64,
}

impl HostNode {
    pub(crate) fn new(
        node: Node,
        logs: Arc<LogStore>,
        openings: Openings,
        workshop: Workshop,
    ) -> Self {
        let (ended, events) = mpsc::channel(EVENT_QUEUE);
        Self {
            node,
            logs,
            openings,
            workshop,
            services: GuestServices::default(),
            running: Mutex::default(),
            ended,
            events: tokio::sync::Mutex::new(events),
        }
    }

    /// Through which guests reach this service.
    pub(crate) fn services(&self) -> &GuestServices {
        &self.services
    }

    /// How often a microVM was resumed since this process knows it.
    pub(crate) fn resumes_of(&self, id: MicrovmId) -> u64 {
        self.watches().get(&id).map_or(0, |watch| watch.resumes)
    }

    /// What the processes of running microVMs take of this host's memory.
    pub(crate) fn memory(&self) -> Vec<(MicrovmId, ProcessMemory)> {
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

    /// The agent of a running microVM.
    pub(crate) fn agent(&self, id: MicrovmId) -> Result<AgentClient, hearth_node::NodeError> {
        Ok(self.node.machine(&machine_name(id)?)?.agent())
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<MicrovmId, Watch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine of a microVM. Ids are shorter than names may be and use fewer letters.
fn machine_name(id: MicrovmId) -> Result<MachineName, hearth_node::NodeError> {
    Ok(id.to_string().parse()?)
}

/// The cause as one sentence with everything below it.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[async_trait]
impl hearth_control::node::Node for HostNode {
    async fn fork(&self, parent: MicrovmId, child: MicrovmId) -> Result<Sealed, ForkError> {
        self.fork_microvm(parent, child).await
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<(), LaunchError> {
        self.launch_microvm(&spec).await
    }

    async fn suspend(&self, id: MicrovmId) -> Result<(), SuspendError> {
        self.suspend_microvm(id).await
    }

    async fn resume(&self, microvm: &Microvm) -> Result<(), ResumeError> {
        self.resume_microvm(microvm).await
    }

    async fn terminate(&self, id: MicrovmId) -> Result<(), NodeError> {
        self.terminate_microvm(id).await
    }

    async fn call_hook(&self, id: MicrovmId, call: HookCall) -> HookOutcome {
        self.call_hook_of(id, &call).await
    }

    async fn build(
        &self,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure> {
        self.workshop.build(&self.node, spec, progress).await
    }

    async fn discard_build(&self, id: BuildId) -> Result<(), NodeError> {
        self.discard(id).await
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), NodeError> {
        self.free(snapshot).await
    }

    async fn inventory(&self) -> Result<Inventory, NodeError> {
        self.take_inventory()
            .map_err(|error| NodeError(whole(&error)))
    }

    async fn next_event(&self) -> NodeEvent {
        match self.events.lock().await.recv().await {
            Some(event) => event,
            // This value holds a sender itself.
            None => std::future::pending().await,
        }
    }
}
