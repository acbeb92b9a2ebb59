//! Which environment runs an invocation: decisions without effects.
//!
//! ```text
//!           start               answered               over
//!  (none) ───────> Busy ───────────────> Finishing ───────────> Idle ──> (retired)
//!                    ^                                            │
//!                    └─────────────── reuse, newest first ────────┘
//! ```
//!
//! - An environment serves one version of one function, and one tenant.
//! - It runs one invocation at a time.
//! - If its version has changed, it takes no further invocation. The same holds when it is too old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::{Admission, Slot};
use crate::environment::EnvironmentId;
use crate::invocation::Throttle;
use crate::version::FunctionVersion;

/// How long environments are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Without an invocation.
    pub idle: Duration,
    /// At all. An environment that runs an invocation ends after it.
    pub age: Duration,
}

impl Default for PoolLimits {
    /// As on AWS: minutes without work, and hours at all.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10 * 60),
            age: Duration::from_secs(2 * 3600),
        }
    }
}

/// All environments.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    pub(crate) admission: Admission,
    environments: HashMap<EnvironmentId, Entry>,
    groups: HashMap<Key, Vec<EnvironmentId>>,
}

/// What environments are shared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    function_arn: String,
    version: String,
    tenant: Option<String>,
}

impl Key {
    fn of(version: &FunctionVersion) -> Self {
        Self {
            function_arn: version.spec.function_arn.clone(),
            version: version.spec.version.clone(),
            tenant: version.spec.tenant.clone(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    version: Arc<FunctionVersion>,
    state: State,
    slot: Option<Slot>,
    /// It takes no further invocation from then on.
    until: Instant,
    is_retired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    Finishing,
    Idle(Instant),
}

/// What to do with an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Give it to this environment.
    Reuse(EnvironmentId),
    /// Start an environment for it, with this id.
    Start(EnvironmentId),
    /// An environment is about to be free: ask again then.
    Wait,
    /// Not now.
    Refuse(Throttle),
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            admission: Admission::default(),
            environments: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Decides, and notes what was decided. Returns also the environments to retire.
    pub(crate) fn place(
        &mut self,
        version: &Arc<FunctionVersion>,
        new_id: EnvironmentId,
        may_wait: bool,
        now: Instant,
    ) -> (Decision, Vec<EnvironmentId>) {
        let retired = self.retire_changed(version, now);
        (self.decide(version, new_id, may_wait, now), retired)
    }

    fn decide(
        &mut self,
        version: &Arc<FunctionVersion>,
        new_id: EnvironmentId,
        may_wait: bool,
        now: Instant,
    ) -> Decision {
        if let Err(throttle) = self.admission.check(version) {
            let is_near = may_wait && self.any_finishing(version, throttle);
            return if is_near {
                Decision::Wait
            } else {
                Decision::Refuse(throttle)
            };
        }
        let key = Key::of(version);
        if let Some(id) = self.newest_idle(&key) {
            let slot = self.admission.take(version);
            if let Some(entry) = self.environments.get_mut(&id) {
                entry.state = State::Busy;
                entry.slot = Some(slot);
            }
            return Decision::Reuse(id);
        }
        if may_wait && self.group_is_finishing(&key) {
            return Decision::Wait;
        }
        if let Err(throttle) = self.admission.scale(version, now) {
            return Decision::Refuse(throttle);
        }
        self.add(version, key, new_id, now);
        Decision::Start(new_id)
    }

    fn add(&mut self, version: &Arc<FunctionVersion>, key: Key, id: EnvironmentId, now: Instant) {
        let slot = self.admission.take(version);
        self.groups.entry(key).or_default().push(id);
        let entry = Entry {
            version: Arc::clone(version),
            state: State::Busy,
            slot: Some(slot),
            until: now + self.limits.age,
            is_retired: false,
        };
        self.environments.insert(id, entry);
    }

    /// Credentials of an environment end: it must end before.
    pub(crate) fn end_by(&mut self, id: EnvironmentId, until: Instant) {
        if let Some(entry) = self.environments.get_mut(&id) {
            entry.until = entry.until.min(until);
        }
    }

    /// The environments of this group that cannot run this version any more. Busy ones are retired when they are idle.
    fn retire_changed(&mut self, version: &FunctionVersion, now: Instant) -> Vec<EnvironmentId> {
        let ids = self.groups.get(&Key::of(version)).cloned();
        let mut retired = Vec::new();
        for id in ids.unwrap_or_default() {
            let Some(entry) = self.environments.get_mut(&id) else {
                continue;
            };
            if !version.runs_in(&entry.version) || entry.until <= now {
                retired.extend(retire(id, entry));
            }
        }
        retired
    }

    fn group(&self, key: &Key) -> impl Iterator<Item = (EnvironmentId, &Entry)> {
        let ids = self.groups.get(key).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.environments.get(id)?)))
    }

    fn newest_idle(&self, key: &Key) -> Option<EnvironmentId> {
        let idle = self.group(key).filter_map(|(id, entry)| match entry.state {
            State::Idle(since) if !entry.is_retired => Some((since, id)),
            _ => None,
        });
        idle.max().map(|(_, id)| id)
    }

    fn group_is_finishing(&self, key: &Key) -> bool {
        let mut group = self.group(key);
        group.any(|(_, entry)| entry.state == State::Finishing && !entry.is_retired)
    }

    /// Whether a slot of the kind that is exhausted will soon be free.
    fn any_finishing(&self, version: &FunctionVersion, throttle: Throttle) -> bool {
        let spec = &version.spec;
        self.environments.values().any(|entry| {
            let theirs = &entry.version.spec;
            let shares = match throttle {
                Throttle::Reserved => theirs.function_arn == spec.function_arn,
                _ => theirs.account == spec.account,
            };
            entry.state == State::Finishing && shares
        })
    }

    /// The caller has its answer.
    pub(crate) fn answered(&mut self, id: EnvironmentId) {
        if let Some(entry) = self.environments.get_mut(&id)
            && entry.state == State::Busy
        {
            entry.state = State::Finishing;
        }
    }

    /// The environment can take an invocation. Returns whether it is to be retired instead.
    pub(crate) fn ready(&mut self, id: EnvironmentId, now: Instant) -> bool {
        let Some(entry) = self.environments.get_mut(&id) else {
            return false;
        };
        // An idle environment that had to be reset is as idle as before.
        if matches!(entry.state, State::Idle(_)) {
            return false;
        }
        entry.state = State::Idle(now);
        let slot = entry.slot.take();
        let is_over = entry.is_retired || entry.until <= now;
        entry.is_retired = is_over;
        if let Some(slot) = slot {
            self.admission.give_back(&slot);
        }
        is_over
    }

    /// The environment is gone.
    pub(crate) fn finished(&mut self, id: EnvironmentId) {
        let Some(entry) = self.environments.remove(&id) else {
            return;
        };
        if let Some(slot) = &entry.slot {
            self.admission.give_back(slot);
        }
        let key = Key::of(&entry.version);
        if let Some(group) = self.groups.get_mut(&key) {
            group.retain(|other| *other != id);
            if group.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// The environments whose time is over.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<EnvironmentId> {
        self.admission.forget_idle();
        let idle = self.limits.idle;
        let over = |entry: &Entry| match entry.state {
            State::Idle(since) => entry.until <= now || now.duration_since(since) >= idle,
            _ => false,
        };
        let entries = self.environments.iter_mut();
        let over = entries.filter(|(_, entry)| over(entry));
        over.filter_map(|(id, entry)| retire(*id, entry)).collect()
    }

    /// The environments of a function, or all: the idle ones are returned, the others are retired when they are idle.
    pub(crate) fn retire_all(&mut self, function_arn: Option<&str>) -> Vec<EnvironmentId> {
        let entries = self.environments.iter_mut();
        let wanted = entries.filter(|(_, entry)| {
            function_arn.is_none_or(|wanted| entry.version.spec.function_arn == wanted)
        });
        wanted
            .filter_map(|(id, entry)| retire(*id, entry))
            .collect()
    }

    /// The environment that has been idle for longest, to make room.
    pub(crate) fn evict(&mut self) -> Option<EnvironmentId> {
        let idle = self
            .environments
            .iter()
            .filter_map(|(id, entry)| match entry.state {
                State::Idle(since) if !entry.is_retired => Some((since, *id)),
                _ => None,
            });
        let (_, id) = idle.min()?;
        retire(id, self.environments.get_mut(&id)?)
    }

    /// Environments that are there, and those of them that are idle.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let entries = self.environments.values();
        let idle = entries.filter(|entry| matches!(entry.state, State::Idle(_)));
        (self.environments.len(), idle.count())
    }
}

/// Marks an environment. Returns it if it is idle and was not marked before: it can be told at once.
fn retire(id: EnvironmentId, entry: &mut Entry) -> Option<EnvironmentId> {
    let was_retired = std::mem::replace(&mut entry.is_retired, true);
    let is_idle = matches!(entry.state, State::Idle(_));
    (is_idle && !was_retired).then_some(id)
}

#[cfg(test)]
mod tests;
