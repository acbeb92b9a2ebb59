//! Instances: launch, seal, suspend, resume, remove, hooks.

use std::io;
use std::time::{Duration, Instant};

use hearth_control::guest_call::{CallOutcome, GuestCall};
use hearth_control::host::{Done, HostOperation, LaunchOrigin, OperationFailure, SnapshotRef};
use hearth_control::instance::{Instance, InstanceId};
use hearth_control::start_times::StartStep;
use hearth_net::Egress;
use hearth_node::{
    CloneRequest, Launched, Machine, MachineName, NodeError, Standing, StepTime, Times, with_causes,
};

use super::{LocalHost, machine_name};
use crate::guest_call;
use crate::monitor::{Monitor, Watched};
use crate::output::Output;

/// Longest wait for the last output of an instance to be written before the instance is removed.
const LAST_OUTPUT_LIMIT: Duration = Duration::from_secs(1);

impl LocalHost {
    /// Does one operation to its end. Operations on one instance are sequential; only a removal overtakes others.
    pub(super) async fn perform(
        &self,
        id: InstanceId,
        operation: HostOperation,
    ) -> Result<Done, OperationFailure> {
        let name = machine_name(id).map_err(|error| unchanged(&error))?;
        match operation {
            HostOperation::Launch(instance, origin) => self.launch(&name, &instance, &origin).await,
            HostOperation::Seal { child } => self.seal(&name, child).await,
            HostOperation::Suspend(instance) => self.suspend(&name, &instance).await,
            HostOperation::Resume(instance) => self.resume(&name, &instance).await,
            HostOperation::Remove => self.remove(&name, id).await,
        }
    }

    async fn launch(
        &self,
        name: &MachineName,
        instance: &Instance,
        origin: &LaunchOrigin,
    ) -> Result<Done, OperationFailure> {
        let began = Instant::now();
        let egress = self.0.connector_egress.of(&instance.egress).await;
        let launched = match origin {
            LaunchOrigin::Fork => self.node().launch_fork(name, Some(egress)).await,
            LaunchOrigin::Template(template) => {
                self.launch_template(name, &template.snapshot, egress).await
            }
        };
        let launched = launched.map_err(|error| unchanged(&error))?;
        let done = started(began, &launched.times);
        tracing::info!(id = %instance.id, times = ?launched.times, "launched");
        self.follow(&launched.machine, instance);
        Ok(done)
    }

    async fn launch_template(
        &self,
        name: &MachineName,
        snapshot: &SnapshotRef,
        egress: Egress,
    ) -> Result<Launched, NodeError> {
        // A launch that an earlier process began: its clone may not have been made unique, so it starts again.
        self.node().erase(name).await?;
        let no_snapshot = |_| NodeError::UnknownSnapshot(snapshot.0.clone());
        let snapshot = snapshot.0.parse().map_err(no_snapshot)?;
        let request = CloneRequest {
            egress: Some(egress),
            // Without the list the guest is only slower: each page is read when the guest touches it.
            prefetch: self.node().prefetch(snapshot).await.unwrap_or_default(),
            ..CloneRequest::new(snapshot)
        };
        self.node().clone_snapshot(name, request).await
    }

    /// The parent's side of a fork; the child is launched like every other instance.
    async fn seal(
        &self,
        parent: &MachineName,
        child: InstanceId,
    ) -> Result<Done, OperationFailure> {
        let child_name = machine_name(child).map_err(|error| unchanged(&error))?;
        let sealed = match self.node().seal_for(parent, &child_name).await {
            Ok(sealed) => sealed,
            Err(error) => {
                return Err(match self.node().standing(parent).await {
                    Standing::Gone => OperationFailure::Lost(with_causes(&error)),
                    Standing::Runs | Standing::Suspended | Standing::Busy => unchanged(&error),
                });
            }
        };
        let paused = sealed.paused_us.map(Duration::from_micros);
        tracing::info!(%parent, %child, snapshot = %sealed.snapshot, ?paused, "sealed for a fork");
        Ok(Done {
            paused,
            ..Done::default()
        })
    }

    async fn suspend(
        &self,
        name: &MachineName,
        instance: &Instance,
    ) -> Result<Done, OperationFailure> {
        if self.node().standing(name).await == Standing::Suspended {
            // Asked again after a restart.
            return Ok(Done::default());
        }
        let output = self.stop_following(instance.id).await;
        let suspended = self.node().suspend(name).await;
        let standing = match &suspended {
            Ok(_) => Standing::Suspended,
            Err(_) => self.node().standing(name).await,
        };
        match (suspended, standing) {
            (Err(error), Standing::Runs | Standing::Busy) => {
                match output {
                    Some(output) => self.start_monitor(instance.id, output),
                    // An earlier process began this suspend.
                    None => self.take_up(instance),
                }
                Err(unchanged(&error))
            }
            (Err(error), Standing::Gone) => {
                self.stop_serving(instance.id);
                Err(OperationFailure::Lost(with_causes(&error)))
            }
            // Also after an error: the suspended state is complete on disk.
            (_, Standing::Suspended) | (Ok(_), _) => {
                self.stop_serving(instance.id);
                Ok(Done::default())
            }
        }
    }

    async fn resume(
        &self,
        name: &MachineName,
        instance: &Instance,
    ) -> Result<Done, OperationFailure> {
        let began = Instant::now();
        let mut done = Done::default();
        let failed = |error: NodeError| unchanged(&error);
        // An earlier resume may have left a process: if it runs, this resume is done; if it is dead, it is removed.
        let is_running = self.node().settle(name).await.map_err(failed)?;
        let machine = if is_running {
            self.node().machine(name).map_err(failed)?
        } else {
            // The operator may have changed the rules while the instance was suspended.
            let egress = self.0.connector_egress.of(&instance.egress).await;
            match self.node().resume_with(name, Some(egress)).await {
                Ok(launched) => {
                    done = started(began, &launched.times);
                    launched.machine
                }
                Err(NodeError::Damaged { reason, .. }) => {
                    return Err(self.damaged(name, reason).await);
                }
                Err(error @ NodeError::UnknownMachine(_)) => {
                    return Err(self.missing(name, &error).await);
                }
                Err(error) => return Err(failed(error)),
            }
        };
        self.followed().entry(instance.id).or_default().resumes += 1;
        self.follow(&machine, instance);
        Ok(done)
    }

    /// Sets the files of a damaged instance aside for the operator, and tells callers which file is damaged.
    async fn damaged(&self, name: &MachineName, reason: String) -> OperationFailure {
        if let Err(error) = self.node().set_aside(name, reason.clone()).await {
            tracing::error!(%error, %name, "a damaged snapshot is not set aside");
        }
        OperationFailure::Damaged(self.told(&reason))
    }

    /// Why an instance has no files: they were set aside earlier, or they are lost.
    async fn missing(&self, name: &MachineName, error: &NodeError) -> OperationFailure {
        match self.node().damage_of(name).await {
            Ok(Some(damage)) => OperationFailure::Damaged(self.told(&damage.reason)),
            Ok(None) => OperationFailure::Lost(with_causes(error)),
            Err(error) => OperationFailure::Unchanged(with_causes(&error)),
        }
    }

    /// The error of a file for callers, without the file's path on the host.
    pub(super) fn told(&self, reason: &str) -> String {
        let data = format!("{}/", self.node().layout().data().display());
        reason.replace(&data, "")
    }

    async fn remove(&self, name: &MachineName, id: InstanceId) -> Result<Done, OperationFailure> {
        // A guest that hangs does not delay its own removal.
        let _ = tokio::time::timeout(LAST_OUTPUT_LIMIT, self.stop_following(id)).await;
        self.followed().remove(&id);
        let erased = self.node().erase(name).await;
        erased.map_err(|error| unchanged(&error))?;
        Ok(Done::default())
    }

    pub(super) async fn call_guest(&self, id: InstanceId, call: GuestCall) -> CallOutcome {
        match self.agent(id) {
            Ok(agent) => guest_call::call(&agent, call).await,
            Err(_) => CallOutcome::Broken,
        }
    }

    /// Follows an instance that an earlier process launched. No-op if the instance is followed already. No-op also if
    /// an operation has ended its VMM and not started the next one: that operation follows the next VMM.
    pub fn take_up(&self, instance: &Instance) {
        let is_followed = self
            .followed()
            .get(&instance.id)
            .is_some_and(|followed| followed.monitor.is_some());
        if is_followed {
            return;
        }
        let machine = machine_name(instance.id).and_then(|name| self.node().machine(&name));
        if let Ok(machine) = machine {
            self.follow(&machine, instance);
        }
    }

    fn follow(&self, machine: &Machine, instance: &Instance) {
        self.serve_guest(machine, instance);
        let watched = Watched {
            id: instance.id,
            node: self.node().clone(),
            agent: machine.agent(),
            process: machine.record().process,
            output: Output::new(&self.0.logs, &instance.output, &instance.id.to_string()),
        };
        self.start_monitor(instance.id, watched);
    }

    fn serve_guest(&self, machine: &Machine, instance: &Instance) {
        match machine.listen_for_services() {
            Ok(listener) => {
                let services = self
                    .0
                    .guest_server
                    .serve(listener, instance.id, instance.account);
                self.followed().entry(instance.id).or_default().services = Some(services);
            }
            // The guest runs without services: its agent waits for them and then gives up.
            Err(error) => tracing::error!(%error, id = %instance.id, "a guest has no services"),
        }
    }

    fn stop_serving(&self, id: InstanceId) {
        let services = self
            .followed()
            .get_mut(&id)
            .and_then(|followed| followed.services.take());
        drop(services);
    }

    /// Stops following. Answers what [`Self::start_monitor`] needs to continue.
    async fn stop_following(&self, id: InstanceId) -> Option<Watched> {
        let monitor = self.followed().get_mut(&id)?.monitor.take()?;
        Some(monitor.stop().await)
    }

    fn start_monitor(&self, id: InstanceId, watched: Watched) {
        let monitor = Monitor::start(watched, self.0.events.clone());
        self.followed().entry(id).or_default().monitor = Some(monitor);
    }
}

/// The outcome of a start that began at `began`.
fn started(began: Instant, times: &Times) -> Done {
    let measured: Duration = times.steps.iter().map(|step| step.took).sum();
    let waited = StepTime {
        name: "waited for its turn",
        took: began.elapsed().saturating_sub(measured),
    };
    let steps = std::iter::once(&waited).chain(&times.steps);
    Done {
        steps: steps
            .map(|step| StartStep {
                name: step.name.to_owned(),
                took: step.took,
            })
            .collect(),
        ..Done::default()
    }
}

/// The failure of an operation that left the instance as it was.
fn unchanged(error: &NodeError) -> OperationFailure {
    match error {
        NodeError::NoUser => OperationFailure::NoCapacity,
        NodeError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(error = with_causes(error), "the host's disk is full");
            OperationFailure::NoCapacity
        }
        NodeError::Removed(_) => OperationFailure::Overtaken,
        error => OperationFailure::Unchanged(with_causes(error)),
    }
}
