//! A host in memory that does what it is told, fails where it is told, and remembers everything.
//!
//! Its operations are torn in the middle: they leave debris, give way to other tasks, and only then
//! finish. They outlive a control plane that is killed, unless the host is killed with it ([`ScriptedHost::crash`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hearth_control::arn::Scope;
use hearth_control::guest_call::{CallOutcome, GuestCall};
use hearth_control::hooks::Hook;
use hearth_control::host::{
    ArtifactRefusal, BuildEvent, BuildFailure, BuildSpec, Built, Done, EventLog, Events, Host,
    HostError, HostEvent, HostOperation, Inventory, LaunchOrigin, OperationFailure, OperationId,
    Operations, Outcome, Presence, SnapshotRef, Template, WaitingPlace,
};
use hearth_control::id::BuildId;
use hearth_control::image::{ArtifactUri, BuildSizes};
use hearth_control::instance::InstanceId;
use tokio::sync::{Notify, mpsc};

/// How long a parent stands still for its fork.
pub(crate) const PAUSE: Duration = Duration::from_millis(7);

/// Something that goes wrong once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    Fork,
    LostInFork,
    Launch,
    NoCapacity,
    Suspend,
    LostInSuspend,
    Resume,
    Damaged,
    Terminate,
    Build(&'static str),
    NoArtifact,
    Free,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<InstanceId, Presence>,
    snapshots: BTreeMap<SnapshotRef, BuildId>,
    builds: BTreeSet<BuildId>,
    faults: Vec<Fault>,
    hook_answers: HashMap<Hook, CallOutcome>,
    /// Operations that never end.
    stuck: BTreeSet<&'static str>,
    calls: Vec<String>,
    /// Instances that are being removed: what is under way on them gives up.
    removals: BTreeSet<InstanceId>,
    /// How often the host was killed: what was under way before is no more.
    crashes: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ScriptedHost(Arc<Inner>);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    state: Mutex<State>,
    news: Notify,
    operations: Mutex<Arc<Operations>>,
    events: EventLog,
}

impl std::ops::Deref for ScriptedHost {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl ScriptedHost {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub(crate) fn fail_once(&self, fault: Fault) {
        self.with(|state| state.faults.push(fault));
    }

    pub(crate) fn answer(&self, hook: Hook, outcome: CallOutcome) {
        self.with(|state| state.hook_answers.insert(hook, outcome));
    }

    /// Lets every call of an operation hang until [`ScriptedHost::unstick`].
    pub(crate) fn stick(&self, operation: &'static str) {
        self.with(|state| state.stuck.insert(operation));
    }

    pub(crate) fn unstick(&self, operation: &'static str) {
        self.with(|state| state.stuck.remove(operation));
        self.news.notify_waiters();
    }

    pub(crate) fn presence(&self, id: impl Into<InstanceId>) -> Option<Presence> {
        let id = id.into();
        self.with(|state| state.instances.get(&id).cloned())
    }

    pub(crate) fn set_presence(&self, id: impl Into<InstanceId>, presence: Option<Presence>) {
        let id = id.into();
        self.with(|state| match presence {
            Some(presence) => state.instances.insert(id, presence),
            None => state.instances.remove(&id),
        });
    }

    pub(crate) fn add_snapshot(&self, name: &str, build: BuildId) {
        self.with(|state| state.snapshots.insert(SnapshotRef(name.to_owned()), build));
    }

    pub(crate) fn emit(&self, event: HostEvent) {
        self.events.push(event);
    }

    /// Kills the host: whatever is under way stays as it is, and nothing is known of it afterwards.
    pub(crate) fn crash(&self) {
        self.with(|state| state.crashes += 1);
        *self.operations.lock().unwrap() = Arc::default();
        self.news.notify_waiters();
    }

    fn operations(&self) -> Arc<Operations> {
        Arc::clone(&self.operations.lock().unwrap())
    }

    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.with(|state| {
            state
                .calls
                .iter()
                .filter(|call| call.as_str() == operation)
                .count()
        })
    }

    /// How many microVMs, snapshots and builds there are.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.with(|state| {
            (
                state.instances.len(),
                state.snapshots.len(),
                state.builds.len(),
            )
        })
    }

    fn takes(&self, fault: &Fault) -> bool {
        self.with(
            |state| match state.faults.iter().position(|known| known == fault) {
                Some(place) => {
                    state.faults.remove(place);
                    true
                }
                None => false,
            },
        )
    }

    /// Notes a call and gives way, so that callers can be killed in the middle.
    async fn begin(&self, operation: &'static str) {
        self.begin_on(operation, || false).await;
    }

    /// The same of an operation on an instance; answers whether it goes on.
    async fn begin_on(&self, operation: &'static str, is_over: impl Fn() -> bool) -> bool {
        let crashes = self.with(|state| {
            state.calls.push(operation.to_owned());
            state.crashes
        });
        tokio::task::yield_now().await;
        loop {
            let news = self.news.notified();
            if self.with(|state| state.crashes) != crashes {
                // Nobody is there to go on.
                std::future::pending::<()>().await;
            }
            if is_over() {
                return false;
            }
            if !self.with(|state| state.stuck.contains(operation)) {
                return true;
            }
            news.await;
        }
    }

    async fn perform(
        self,
        id: InstanceId,
        operation: HostOperation,
    ) -> Result<Done, OperationFailure> {
        let name = match &operation {
            HostOperation::Launch(..) => "launch",
            HostOperation::Seal { .. } => "fork",
            HostOperation::Suspend(_) => "suspend",
            HostOperation::Resume(_) => "resume",
            HostOperation::Remove => return self.remove(id).await,
        };
        let is_removed = || self.with(|state| state.removals.contains(&id));
        if !self.begin_on(name, is_removed).await {
            return Err(OperationFailure::Overtaken);
        }
        match operation {
            HostOperation::Launch(_, origin) => self.launch(id, origin).await,
            HostOperation::Seal { child } => self.seal(id, child).await,
            HostOperation::Suspend(_) => self.suspend(id).await,
            HostOperation::Resume(_) => self.resume(id).await,
            HostOperation::Remove => unreachable!("it is done above"),
        }
    }

    async fn seal(&self, parent: InstanceId, child: InstanceId) -> Result<Done, OperationFailure> {
        if self.takes(&Fault::Fork) {
            return Err(OperationFailure::Unchanged("scripted".to_owned()));
        }
        if self.takes(&Fault::LostInFork) {
            self.set_presence(parent, Some(Presence::Debris));
            return Err(OperationFailure::Lost("scripted".to_owned()));
        }
        let found = self.presence(parent);
        if !matches!(found, Some(Presence::Running | Presence::Suspended)) {
            return Err(OperationFailure::Lost(format!("fork of {found:?}")));
        }
        tokio::task::yield_now().await;
        // What is reserved for a child is a piece of it.
        self.set_presence(child, Some(Presence::Debris));
        tokio::task::yield_now().await;
        let was_running = found == Some(Presence::Running);
        Ok(Done {
            paused: was_running.then_some(PAUSE),
            ..Done::default()
        })
    }

    async fn launch(&self, id: InstanceId, origin: LaunchOrigin) -> Result<Done, OperationFailure> {
        if self.takes(&Fault::Launch) {
            return Err(OperationFailure::Unchanged("scripted".to_owned()));
        }
        if self.takes(&Fault::NoCapacity) {
            return Err(OperationFailure::NoCapacity);
        }
        let is_there = match &origin {
            LaunchOrigin::Template(template) => {
                self.with(|state| state.snapshots.contains_key(&template.snapshot))
            }
            LaunchOrigin::Fork => self.presence(id) == Some(Presence::Debris),
        };
        assert!(is_there, "{id} {origin:?}");
        self.set_presence(id, Some(Presence::Debris));
        tokio::task::yield_now().await;
        self.settle(id, Presence::Running)
    }

    async fn suspend(&self, id: InstanceId) -> Result<Done, OperationFailure> {
        if self.takes(&Fault::Suspend) {
            return Err(OperationFailure::Unchanged("scripted".to_owned()));
        }
        if self.takes(&Fault::LostInSuspend) {
            self.set_presence(id, Some(Presence::Debris));
            return Err(OperationFailure::Lost("scripted".to_owned()));
        }
        assert!(
            matches!(
                self.presence(id),
                Some(Presence::Running | Presence::Suspended | Presence::Busy)
            ),
            "suspend of {:?}",
            self.presence(id)
        );
        tokio::task::yield_now().await;
        self.settle(id, Presence::Suspended)
    }

    async fn resume(&self, id: InstanceId) -> Result<Done, OperationFailure> {
        if self.takes(&Fault::Resume) {
            return Err(OperationFailure::Unchanged("scripted".to_owned()));
        }
        if self.takes(&Fault::Damaged) {
            return Err(OperationFailure::Damaged("snapshots/x/memory".to_owned()));
        }
        assert!(
            matches!(
                self.presence(id),
                Some(Presence::Running | Presence::Suspended)
            ),
            "resume of {:?}",
            self.presence(id)
        );
        tokio::task::yield_now().await;
        self.settle(id, Presence::Running)
    }

    /// What an operation leaves, unless a removal has overtaken it.
    fn settle(&self, id: InstanceId, presence: Presence) -> Result<Done, OperationFailure> {
        self.with(|state| {
            if state.removals.contains(&id) {
                return Err(OperationFailure::Overtaken);
            }
            state.instances.insert(id, presence);
            Ok(Done::default())
        })
    }

    async fn remove(&self, id: InstanceId) -> Result<Done, OperationFailure> {
        self.with(|state| state.removals.insert(id));
        self.news.notify_waiters();
        self.begin("terminate").await;
        if self.takes(&Fault::Terminate) {
            return Err(OperationFailure::Unchanged("scripted".to_owned()));
        }
        if self.presence(id).is_some() {
            self.set_presence(id, Some(Presence::Debris));
            tokio::task::yield_now().await;
            self.set_presence(id, None);
        }
        Ok(Done::default())
    }
}

#[async_trait]
impl Host for ScriptedHost {
    async fn submit(&self, id: OperationId, operation: HostOperation) -> Result<(), HostError> {
        let host = self.clone();
        self.operations().submit(id, operation, move |operation| {
            host.perform(id.instance, operation)
        })
    }

    async fn outcome(&self, id: OperationId) -> Result<Outcome, HostError> {
        Ok(self.operations().outcome(id).await)
    }

    async fn discard(&self, id: InstanceId) -> Result<(), HostError> {
        let removed = self.remove(id).await;
        removed
            .map(drop)
            .map_err(|failure| HostError(failure.to_string()))
    }

    async fn call(&self, id: InstanceId, call: GuestCall) -> CallOutcome {
        let hook = hook_at(&call.path);
        self.begin(hook_name(hook)).await;
        assert_eq!(self.presence(id), Some(Presence::Running));
        self.with(|state| state.hook_answers.get(&hook).copied())
            .unwrap_or(CallOutcome::Done)
    }

    async fn build(
        &self,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure> {
        self.begin("build").await;
        self.with(|state| state.builds.insert(spec.id));
        let _ = progress.try_send(BuildEvent::Phase("unpack"));
        tokio::task::yield_now().await;
        let failing = self.with(|state| {
            let place = state
                .faults
                .iter()
                .position(|fault| matches!(fault, Fault::Build(_)))?;
            Some(state.faults.remove(place))
        });
        if let Some(Fault::Build(reason)) = failing {
            self.with(|state| state.builds.remove(&spec.id));
            return Err(BuildFailure {
                reason: reason.to_owned(),
                sizes: BuildSizes::default(),
            });
        }
        let snapshot = SnapshotRef(format!("snapshot of {}", spec.id));
        self.with(|state| state.snapshots.insert(snapshot.clone(), spec.id));
        tokio::task::yield_now().await;
        self.with(|state| state.builds.remove(&spec.id));
        let sizes = BuildSizes {
            memory_bytes: Some(609_087_488),
            code_install_bytes: Some(186_400_768),
            disk_bytes: Some(25_600_000),
        };
        let template = Template {
            snapshot,
            tier: spec.spec.tier,
        };
        Ok(Built { template, sizes })
    }

    async fn look_for_artifact(&self, _: &Scope, _: &ArtifactUri) -> Result<(), ArtifactRefusal> {
        match self.takes(&Fault::NoArtifact) {
            true => Err(ArtifactRefusal::NoKey),
            false => Ok(()),
        }
    }

    async fn log_waiting(&self, _: &BuildSpec, place: WaitingPlace) {
        let WaitingPlace { place, of } = place;
        let told = format!("waits as {place} of {of}");
        self.with(|state| state.calls.push(told));
    }

    async fn discard_build(&self, id: BuildId) -> Result<(), HostError> {
        self.begin("discard_build").await;
        self.with(|state| state.builds.remove(&id));
        Ok(())
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), HostError> {
        self.begin("free_snapshot").await;
        if self.takes(&Fault::Free) {
            return Err(HostError("scripted".to_owned()));
        }
        self.with(|state| state.snapshots.remove(snapshot));
        Ok(())
    }

    async fn inventory(&self) -> Result<Inventory, HostError> {
        self.begin("inventory").await;
        let operations = self.operations();
        Ok(self.with(|state| Inventory {
            instances: state
                .instances
                .iter()
                .map(|(id, presence)| match operations.is_busy(*id) {
                    true => (*id, Presence::Busy),
                    false => (*id, presence.clone()),
                })
                .collect(),
            snapshots: state
                .snapshots
                .iter()
                .map(|(name, id)| (name.clone(), *id))
                .collect(),
            builds: state.builds.iter().copied().collect(),
        }))
    }

    async fn events(&self, since: u64) -> Events {
        self.events.since(since).await
    }
}

/// The hook that a call is.
fn hook_at(path: &str) -> Hook {
    let hooks = [Hook::Run, Hook::Resume, Hook::Suspend, Hook::Terminate];
    let is_it =
        |hook: &Hook| path == format!("/aws/lambda-microvms/runtime/v1/{}", hook.path_name());
    hooks.into_iter().find(is_it).expect("the path of a hook")
}

/// A hook as [`ScriptedHost::calls`] and [`ScriptedHost::stick`] know it.
fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Run => "/run",
        Hook::Resume => "/resume",
        Hook::Suspend => "/suspend",
        Hook::Terminate => "/terminate",
        Hook::Ready | Hook::Validate => unreachable!("the build calls these"),
    }
}
