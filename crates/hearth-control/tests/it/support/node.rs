//! A node in memory that does what it is told, fails where it is told, and remembers everything.
//!
//! Its operations are torn in the middle: they leave debris, give way to other tasks, and only then
//! finish. So a control plane that is killed leaves it in between, as a real host would be.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hearth_control::hooks::{Hook, HookOutcome};
use hearth_control::id::{BuildId, MicrovmId};
use hearth_control::image::BuildSizes;
use hearth_control::microvm::Microvm;
use hearth_control::node::{
    BuildEvent, BuildFailure, BuildSpec, Built, ForkError, HookCall, Inventory, LaunchError,
    LaunchOrigin, LaunchSpec, Node, NodeError, NodeEvent, Presence, ResumeError, Sealed,
    SnapshotRef, SuspendError,
};
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
    Terminate,
    Build(&'static str),
    Free,
}

#[derive(Debug, Default)]
struct State {
    microvms: BTreeMap<MicrovmId, Presence>,
    snapshots: BTreeMap<SnapshotRef, BuildId>,
    builds: BTreeSet<BuildId>,
    faults: Vec<Fault>,
    hook_answers: HashMap<Hook, HookOutcome>,
    /// Operations that never end.
    stuck: BTreeSet<&'static str>,
    calls: Vec<String>,
    events: VecDeque<NodeEvent>,
}

#[derive(Debug, Default)]
pub(crate) struct ScriptedNode {
    state: Mutex<State>,
    news: Notify,
}

impl ScriptedNode {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub(crate) fn fail_once(&self, fault: Fault) {
        self.with(|state| state.faults.push(fault));
    }

    pub(crate) fn answer(&self, hook: Hook, outcome: HookOutcome) {
        self.with(|state| state.hook_answers.insert(hook, outcome));
    }

    /// Lets every call of an operation hang until [`ScriptedNode::unstick`].
    pub(crate) fn stick(&self, operation: &'static str) {
        self.with(|state| state.stuck.insert(operation));
    }

    pub(crate) fn unstick(&self, operation: &'static str) {
        self.with(|state| state.stuck.remove(operation));
        self.news.notify_waiters();
    }

    pub(crate) fn presence(&self, id: MicrovmId) -> Option<Presence> {
        self.with(|state| state.microvms.get(&id).copied())
    }

    pub(crate) fn set_presence(&self, id: MicrovmId, presence: Option<Presence>) {
        self.with(|state| match presence {
            Some(presence) => state.microvms.insert(id, presence),
            None => state.microvms.remove(&id),
        });
    }

    pub(crate) fn add_snapshot(&self, name: &str, build: BuildId) {
        self.with(|state| state.snapshots.insert(SnapshotRef(name.to_owned()), build));
    }

    pub(crate) fn emit(&self, event: NodeEvent) {
        self.with(|state| state.events.push_back(event));
        self.news.notify_waiters();
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
                state.microvms.len(),
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
        self.with(|state| state.calls.push(operation.to_owned()));
        tokio::task::yield_now().await;
        loop {
            let news = self.news.notified();
            if !self.with(|state| state.stuck.contains(operation)) {
                return;
            }
            news.await;
        }
    }
}

#[async_trait]
impl Node for ScriptedNode {
    async fn fork(&self, parent: MicrovmId, child: MicrovmId) -> Result<Sealed, ForkError> {
        self.begin("fork").await;
        if self.takes(&Fault::Fork) {
            return Err(ForkError::Unchanged("scripted".to_owned()));
        }
        if self.takes(&Fault::LostInFork) {
            self.set_presence(parent, Some(Presence::Debris));
            return Err(ForkError::Lost("scripted".to_owned()));
        }
        let found = self.presence(parent);
        if !matches!(found, Some(Presence::Running | Presence::Suspended)) {
            return Err(ForkError::Lost(format!("fork of {found:?}")));
        }
        tokio::task::yield_now().await;
        // What is reserved for a child is a piece of it.
        self.set_presence(child, Some(Presence::Debris));
        tokio::task::yield_now().await;
        let was_running = found == Some(Presence::Running);
        Ok(Sealed {
            paused: was_running.then_some(PAUSE),
        })
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<(), LaunchError> {
        self.begin("launch").await;
        if self.takes(&Fault::Launch) {
            return Err(LaunchError::Failed("scripted".to_owned()));
        }
        if self.takes(&Fault::NoCapacity) {
            return Err(LaunchError::NoCapacity);
        }
        let is_there = match &spec.origin {
            LaunchOrigin::Version(snapshot) => {
                self.with(|state| state.snapshots.contains_key(snapshot))
            }
            LaunchOrigin::Fork => self.presence(spec.id) == Some(Presence::Debris),
        };
        assert!(is_there, "{spec:?}");
        self.set_presence(spec.id, Some(Presence::Debris));
        tokio::task::yield_now().await;
        self.set_presence(spec.id, Some(Presence::Running));
        Ok(())
    }

    async fn suspend(&self, id: MicrovmId) -> Result<(), SuspendError> {
        self.begin("suspend").await;
        if self.takes(&Fault::Suspend) {
            return Err(SuspendError::StillRunning("scripted".to_owned()));
        }
        if self.takes(&Fault::LostInSuspend) {
            self.set_presence(id, Some(Presence::Debris));
            return Err(SuspendError::Lost("scripted".to_owned()));
        }
        assert!(
            matches!(
                self.presence(id),
                Some(Presence::Running | Presence::Suspended)
            ),
            "suspend of {:?}",
            self.presence(id)
        );
        tokio::task::yield_now().await;
        self.set_presence(id, Some(Presence::Suspended));
        Ok(())
    }

    async fn resume(&self, microvm: &Microvm) -> Result<(), ResumeError> {
        self.begin("resume").await;
        if self.takes(&Fault::Resume) {
            return Err(ResumeError::StillSuspended("scripted".to_owned()));
        }
        assert!(
            matches!(
                self.presence(microvm.id),
                Some(Presence::Running | Presence::Suspended)
            ),
            "resume of {:?}",
            self.presence(microvm.id)
        );
        tokio::task::yield_now().await;
        self.set_presence(microvm.id, Some(Presence::Running));
        Ok(())
    }

    async fn terminate(&self, id: MicrovmId) -> Result<(), NodeError> {
        self.begin("terminate").await;
        if self.takes(&Fault::Terminate) {
            return Err(NodeError("scripted".to_owned()));
        }
        if self.presence(id).is_some() {
            self.set_presence(id, Some(Presence::Debris));
            tokio::task::yield_now().await;
            self.set_presence(id, None);
        }
        Ok(())
    }

    async fn call_hook(&self, id: MicrovmId, call: HookCall) -> HookOutcome {
        let hook = call.hook.hook;
        self.begin(hook_name(hook)).await;
        assert_eq!(self.presence(id), Some(Presence::Running));
        self.with(|state| state.hook_answers.get(&hook).copied())
            .unwrap_or(HookOutcome::Done)
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
        Ok(Built { snapshot, sizes })
    }

    async fn discard_build(&self, id: BuildId) -> Result<(), NodeError> {
        self.begin("discard_build").await;
        self.with(|state| state.builds.remove(&id));
        Ok(())
    }

    async fn free_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), NodeError> {
        self.begin("free_snapshot").await;
        if self.takes(&Fault::Free) {
            return Err(NodeError("scripted".to_owned()));
        }
        self.with(|state| state.snapshots.remove(snapshot));
        Ok(())
    }

    async fn inventory(&self) -> Result<Inventory, NodeError> {
        self.begin("inventory").await;
        Ok(self.with(|state| Inventory {
            microvms: state
                .microvms
                .iter()
                .map(|(id, presence)| (*id, *presence))
                .collect(),
            snapshots: state
                .snapshots
                .iter()
                .map(|(name, id)| (name.clone(), *id))
                .collect(),
            builds: state.builds.iter().copied().collect(),
        }))
    }

    async fn next_event(&self) -> NodeEvent {
        loop {
            let news = self.news.notified();
            if let Some(event) = self.with(|state| state.events.pop_front()) {
                return event;
            }
            news.await;
        }
    }
}

/// A hook as [`ScriptedNode::calls`] and [`ScriptedNode::stick`] know it.
fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Run => "/run",
        Hook::Resume => "/resume",
        Hook::Suspend => "/suspend",
        Hook::Terminate => "/terminate",
        Hook::Ready | Hook::Validate => unreachable!("the build calls these"),
    }
}
