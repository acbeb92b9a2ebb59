//! MicroVMs: launch, suspend, resume, terminate, hooks.

use hearth_control::arn::ImageArn;
use hearth_control::hooks::{Hook, HookOutcome};
use hearth_control::id::{AccountId, MicrovmId, VersionNumber};
use hearth_control::image::Logging;
use hearth_control::microvm::Microvm;
use hearth_control::node::{
    HookCall, LaunchError, LaunchOrigin, LaunchSpec, NodeError, ResumeError, SnapshotRef,
    SuspendError,
};
use hearth_control::time::Timestamp;
use hearth_net::Egress;
use hearth_node::{CloneRequest, Launched, Machine, MachineName, Standing};

use super::{HostNode, machine_name, whole};
use crate::hook;
use crate::monitor::{Monitor, Watched};
use crate::output::{Output, StreamName};

/// Whose output a monitor follows.
struct Writer<'a> {
    id: MicrovmId,
    account: AccountId,
    image: &'a ImageArn,
    version: VersionNumber,
    logging: Option<&'a Logging>,
    begun_at: Timestamp,
}

impl<'a> Writer<'a> {
    fn of(microvm: &'a Microvm) -> Self {
        Self {
            id: microvm.id,
            account: microvm.scope.account,
            image: &microvm.image,
            version: microvm.version,
            logging: microvm.logging.as_ref(),
            begun_at: microvm.started_at,
        }
    }
}

impl HostNode {
    pub(super) async fn launch_microvm(&self, spec: &LaunchSpec) -> Result<(), LaunchError> {
        let failed = |error: &dyn std::error::Error| LaunchError::Failed(whole(error));
        let name = machine_name(spec.id).map_err(|error| failed(&error))?;
        let egress = self.openings.of(&spec.egress).await;
        let launched = match &spec.origin {
            LaunchOrigin::Fork => self.node.launch_fork(&name, Some(egress)).await,
            LaunchOrigin::Version(snapshot) => self.launch_version(&name, snapshot, egress).await,
        };
        let launched = launched.map_err(|error| failed(&error))?;
        tracing::info!(id = %spec.id, times = ?launched.times, "launched");
        let writer = Writer {
            id: spec.id,
            account: spec.image.scope.account,
            image: &spec.image,
            version: spec.version,
            logging: spec.logging.as_ref(),
            begun_at: spec.started_at,
        };
        self.watch(&launched.machine, &writer);
        Ok(())
    }

    async fn launch_version(
        &self,
        name: &MachineName,
        snapshot: &SnapshotRef,
        egress: Egress,
    ) -> Result<Launched, hearth_node::NodeError> {
        // A launch that an earlier process began: its clone may not have been made unique, so it starts again.
        self.node.erase(name).await?;
        let no_snapshot = |_| hearth_node::NodeError::UnknownSnapshot(snapshot.0.clone());
        let snapshot = snapshot.0.parse().map_err(no_snapshot)?;
        let request = CloneRequest {
            egress: Some(egress),
            // Without the list the guest only waits for its pages itself.
            prefetch: self.node.prefetch(snapshot).unwrap_or_default(),
            ..CloneRequest::new(snapshot)
        };
        self.node.clone_snapshot(name, request).await
    }

    pub(super) async fn suspend_microvm(&self, id: MicrovmId) -> Result<(), SuspendError> {
        let lost = |error: hearth_node::NodeError| SuspendError::Lost(whole(&error));
        let name = machine_name(id).map_err(lost)?;
        if self.node.standing(&name).map_err(lost)? == Standing::Suspended {
            // Asked again after a restart.
            return Ok(());
        }
        let machine = self.node.machine(&name).map_err(lost)?;
        let output = self.unwatch(id).await;
        let Err(error) = machine.suspend().await else {
            self.close_door(id);
            return Ok(());
        };
        if let Err(error) = self.node.settle(&name).await {
            tracing::warn!(%error, %id, "what a suspend has left is settled later");
        }
        match self.node.standing(&name) {
            Ok(Standing::Runs) | Err(_) => {
                self.rewatch(id, output);
                Err(SuspendError::StillRunning(whole(&error)))
            }
            // In spite of the error.
            Ok(Standing::Suspended) => {
                self.close_door(id);
                Ok(())
            }
            Ok(Standing::Gone) => {
                self.close_door(id);
                Err(lost(error))
            }
        }
    }

    pub(super) async fn resume_microvm(&self, microvm: &Microvm) -> Result<(), ResumeError> {
        let suspended = |error: hearth_node::NodeError| ResumeError::StillSuspended(whole(&error));
        let name = machine_name(microvm.id).map_err(suspended)?;
        // What an earlier resume left: a machine that runs is done, a dead one is removed.
        let is_running = self.node.settle(&name).await.map_err(suspended)?;
        let machine = if is_running {
            self.node.machine(&name).map_err(suspended)?
        } else {
            // The operator may have changed the rules while it slept.
            let egress = self.openings.of(&microvm.egress).await;
            match self.node.resume_with(&name, Some(egress)).await {
                Ok(launched) => launched.machine,
                Err(error @ hearth_node::NodeError::UnknownMachine(_)) => {
                    return Err(ResumeError::Lost(whole(&error)));
                }
                Err(error) => return Err(suspended(error)),
            }
        };
        self.watches().entry(microvm.id).or_default().resumes += 1;
        self.watch(&machine, &Writer::of(microvm));
        Ok(())
    }

    pub(super) async fn terminate_microvm(&self, id: MicrovmId) -> Result<(), NodeError> {
        self.unwatch(id).await;
        self.watches().remove(&id);
        let failed = |error: hearth_node::NodeError| NodeError(whole(&error));
        let name = machine_name(id).map_err(failed)?;
        self.node.erase(&name).await.map_err(failed)
    }

    pub(super) async fn call_hook_of(&self, id: MicrovmId, call: &HookCall) -> HookOutcome {
        let Ok(agent) = self.agent(id) else {
            return HookOutcome::Broken;
        };
        // Only `/run` has a body (facts section 7).
        let body = (call.hook.hook == Hook::Run).then(|| {
            let payload = call.payload.as_ref().map(|payload| payload.0.as_str());
            serde_json::json!({ "microvmId": id.to_string(), "runHookPayload": payload })
                .to_string()
        });
        hook::call(&agent, &call.hook, body).await
    }

    /// Follows a microVM that an earlier process launched. Of one that is followed already, nothing happens.
    pub(crate) fn take_up(&self, microvm: &Microvm) {
        // The end of a machine that a crash has left of an operation is no news. Whoever starts one follows it.
        if microvm.is_between_machines() {
            return;
        }
        if self
            .watches()
            .get(&microvm.id)
            .is_some_and(|watch| watch.monitor.is_some())
        {
            return;
        }
        let machine = machine_name(microvm.id).and_then(|name| self.node.machine(&name));
        if let Ok(machine) = machine {
            self.watch(&machine, &Writer::of(microvm));
        }
    }

    fn watch(&self, machine: &Machine, writer: &Writer<'_>) {
        self.open_door(machine, writer);
        let name = StreamName {
            begun_at: writer.begun_at,
            version: writer.version,
            writer: &writer.id.to_string(),
        };
        let watched = Watched {
            id: writer.id,
            agent: machine.agent(),
            process: machine.record().process,
            output: Output::new(&self.logs, writer.image, writer.logging, &name),
        };
        self.rewatch(writer.id, Some(watched));
    }

    fn open_door(&self, machine: &Machine, writer: &Writer<'_>) {
        match machine.listen_for_services() {
            Ok(listener) => {
                let door = self.services.open(listener, writer.id, writer.account);
                self.watches().entry(writer.id).or_default().door = Some(door);
            }
            // The guest runs without; it waits for a door and then gives up.
            Err(error) => tracing::error!(%error, id = %writer.id, "a guest has no services"),
        }
    }

    fn close_door(&self, id: MicrovmId) {
        let door = self
            .watches()
            .get_mut(&id)
            .and_then(|watch| watch.door.take());
        drop(door);
    }

    /// Stops following; answers what is needed to go on.
    async fn unwatch(&self, id: MicrovmId) -> Option<Watched> {
        let monitor = self.watches().get_mut(&id)?.monitor.take()?;
        Some(monitor.stop().await)
    }

    fn rewatch(&self, id: MicrovmId, watched: Option<Watched>) {
        if let Some(watched) = watched {
            let monitor = Monitor::start(watched, self.ended.clone());
            self.watches().entry(id).or_default().monitor = Some(monitor);
        }
    }
}
