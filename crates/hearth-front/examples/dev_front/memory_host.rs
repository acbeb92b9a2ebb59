//! A host that keeps its microVMs in a map: the control plane and the front without virtual machines.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hearth_control::arn::Scope;
use hearth_control::guest_call::{CallOutcome, GuestCall};
use hearth_control::host::{
    ArtifactRefusal, BuildEvent, BuildFailure, BuildSpec, Built, Done, Events, Host, HostError,
    HostOperation, Inventory, OperationFailure, OperationId, Operations, Outcome, Presence,
    SnapshotRef, Template, WaitingPlace,
};
use hearth_control::id::BuildId;
use hearth_control::image::{ArtifactUri, BuildSizes};
use hearth_control::instance::InstanceId;
use tokio::sync::mpsc;

/// Long enough for transient states to be seen, short enough for tests.
const STEP: Duration = Duration::from_millis(50);

/// There is no object with this key.
const MISSING_KEY: &str = "missing.zip";

/// Builds of this key fail, so that tests see failed versions.
const FAILING_KEY: &str = "fail.zip";

#[derive(Default)]
pub(crate) struct MemoryHost {
    state: Arc<Mutex<State>>,
    operations: Operations,
}

#[derive(Default)]
struct State {
    instances: HashMap<InstanceId, Presence>,
    snapshots: Vec<(SnapshotRef, BuildId)>,
}

impl MemoryHost {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Host for MemoryHost {
    async fn submit(&self, id: OperationId, operation: HostOperation) -> Result<(), HostError> {
        let state = Arc::clone(&self.state);
        self.operations.submit(id, operation, move |operation| {
            perform(state, id.instance, operation)
        })
    }

    async fn outcome(&self, id: OperationId) -> Result<Outcome, HostError> {
        Ok(self.operations.outcome(id).await)
    }

    async fn discard(&self, id: InstanceId) -> Result<(), HostError> {
        self.state().instances.remove(&id);
        Ok(())
    }

    async fn call(&self, _: InstanceId, _: GuestCall) -> CallOutcome {
        CallOutcome::Done
    }

    async fn build(
        &self,
        spec: BuildSpec,
        _: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure> {
        tokio::time::sleep(STEP * 10).await;
        let sizes = BuildSizes {
            memory_bytes: Some(609_087_488),
            code_install_bytes: Some(186_400_768),
            disk_bytes: Some(25_600_000),
        };
        if spec.spec.artifact.key == FAILING_KEY {
            let reason = "The container image build failed.".to_owned();
            return Err(BuildFailure {
                reason,
                sizes: BuildSizes::default(),
            });
        }
        let snapshot = SnapshotRef(spec.id.to_string());
        self.state().snapshots.push((snapshot.clone(), spec.id));
        let template = Template {
            snapshot,
            tier: spec.spec.tier,
        };
        Ok(Built { template, sizes })
    }

    async fn look_for_artifact(
        &self,
        _: &Scope,
        artifact: &ArtifactUri,
    ) -> Result<(), ArtifactRefusal> {
        match artifact.key.as_str() {
            MISSING_KEY => Err(ArtifactRefusal::NoKey),
            _ => Ok(()),
        }
    }

    async fn log_waiting(&self, _: &BuildSpec, _: WaitingPlace) {}

    async fn discard_build(&self, _: BuildId) -> Result<(), HostError> {
        Ok(())
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), HostError> {
        self.state().snapshots.retain(|(kept, _)| kept != snapshot);
        Ok(())
    }

    async fn inventory(&self) -> Result<Inventory, HostError> {
        let state = self.state();
        Ok(Inventory {
            instances: state
                .instances
                .iter()
                .map(|(id, presence)| (*id, presence.clone()))
                .collect(),
            snapshots: state.snapshots.clone(),
            builds: Vec::new(),
        })
    }

    async fn events(&self, _: u64) -> Events {
        std::future::pending().await
    }
}

async fn perform(
    state: Arc<Mutex<State>>,
    id: InstanceId,
    operation: HostOperation,
) -> Result<Done, OperationFailure> {
    tokio::time::sleep(STEP).await;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let instances = &mut state.instances;
    match operation {
        HostOperation::Seal { .. } => {
            let runs = instances.get(&id) == Some(&Presence::Running);
            return Ok(Done {
                paused: runs.then_some(STEP),
                ..Done::default()
            });
        }
        HostOperation::Launch(..) | HostOperation::Resume(_) => {
            instances.insert(id, Presence::Running);
        }
        HostOperation::Suspend(_) => {
            instances.insert(id, Presence::Suspended);
        }
        HostOperation::Remove => {
            instances.remove(&id);
        }
    }
    Ok(Done::default())
}
