//! A node that keeps its microVMs in a map: the control plane and the front without virtual machines.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hearth_control::hooks::HookOutcome;
use hearth_control::id::BuildId;
use hearth_control::id::MicrovmId;
use hearth_control::image::BuildSizes;
use hearth_control::microvm::Microvm;
use hearth_control::node::{
    BuildEvent, BuildFailure, BuildSpec, Built, ForkError, HookCall, Inventory, LaunchError,
    LaunchSpec, Node, NodeError, NodeEvent, Presence, ResumeError, Sealed, SnapshotRef,
    SuspendError,
};
use tokio::sync::mpsc;

/// Long enough for transient states to be seen, short enough for tests.
const STEP: Duration = Duration::from_millis(50);

/// Builds of this key fail, so that tests see failed versions.
const FAILING_KEY: &str = "fail.zip";

#[derive(Default)]
pub(crate) struct MemoryNode {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    microvms: HashMap<MicrovmId, Presence>,
    snapshots: Vec<(SnapshotRef, BuildId)>,
}

impl MemoryNode {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Node for MemoryNode {
    async fn fork(&self, parent: MicrovmId, _: MicrovmId) -> Result<Sealed, ForkError> {
        tokio::time::sleep(STEP).await;
        let presence = self.state().microvms.get(&parent).copied();
        Ok(Sealed {
            paused: (presence == Some(Presence::Running)).then_some(STEP),
        })
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<(), LaunchError> {
        tokio::time::sleep(STEP).await;
        self.state().microvms.insert(spec.id, Presence::Running);
        Ok(())
    }

    async fn suspend(&self, id: MicrovmId) -> Result<(), SuspendError> {
        tokio::time::sleep(STEP).await;
        self.state().microvms.insert(id, Presence::Suspended);
        Ok(())
    }

    async fn resume(&self, microvm: &Microvm) -> Result<(), ResumeError> {
        tokio::time::sleep(STEP).await;
        self.state().microvms.insert(microvm.id, Presence::Running);
        Ok(())
    }

    async fn terminate(&self, id: MicrovmId) -> Result<(), NodeError> {
        tokio::time::sleep(STEP).await;
        self.state().microvms.remove(&id);
        Ok(())
    }

    async fn call_hook(&self, _: MicrovmId, _: HookCall) -> HookOutcome {
        HookOutcome::Done
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
        Ok(Built { snapshot, sizes })
    }

    async fn discard_build(&self, _: BuildId) -> Result<(), NodeError> {
        Ok(())
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), NodeError> {
        self.state().snapshots.retain(|(kept, _)| kept != snapshot);
        Ok(())
    }

    async fn inventory(&self) -> Result<Inventory, NodeError> {
        let state = self.state();
        Ok(Inventory {
            microvms: state
                .microvms
                .iter()
                .map(|(id, presence)| (*id, *presence))
                .collect(),
            snapshots: state.snapshots.clone(),
            builds: Vec::new(),
        })
    }

    async fn next_event(&self) -> NodeEvent {
        std::future::pending().await
    }
}
