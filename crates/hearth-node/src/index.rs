//! The in-memory index of a node's files: instances and snapshots by name, and the users of each snapshot.
//!
//! The index is plain data without file access. [`crate::records::Records`] changes the index together with the files,
//! so that no operation has to list or read the files of other instances: its cost does not grow with the number of
//! instances on the host.
//!
//! A snapshot has *users*: each instance that stands on it, each snapshot that cannot be restored without it, each fork that
//! waits for it, and each [pin](crate::records::Pin). A step without users is *idle* and may be removed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hearth_snapshot::SnapshotId;

use crate::layout::MachineName;
use crate::record::{DiskStack, MachineRecord, Purpose, SnapshotRecord};

/// A snapshot of this node.
#[derive(Debug, Clone)]
pub struct SnapshotInfo {
    /// Identity of the snapshot.
    pub id: SnapshotId,
    /// Its ancestors, nearest first.
    pub ancestors: Vec<SnapshotId>,
    /// The snapshot's record on disk.
    pub record: SnapshotRecord,
}

impl SnapshotInfo {
    /// The other snapshots that are needed to restore this one: its ancestors, and the snapshots whose files are its
    /// disks.
    pub(crate) fn needs(&self) -> BTreeSet<SnapshotId> {
        let mut needed = sealed_disks(&self.record.disks);
        needed.extend(&self.ancestors);
        needed.remove(&self.id);
        needed
    }

    /// Id of the full snapshot at the bottom of the chain: its own id, if it is a full one.
    pub(crate) fn bottom(&self) -> SnapshotId {
        self.ancestors.last().copied().unwrap_or(self.id)
    }
}

/// The snapshots that an instance stands on with its memory or a disk. Ancestors of its parent are not included: the
/// parent is a user of those.
fn stands_on(record: &MachineRecord) -> BTreeSet<SnapshotId> {
    let mut needed = sealed_disks(&record.disks);
    let parent = record.parent.as_ref();
    needed.extend(parent.and_then(|id| id.parse::<SnapshotId>().ok()));
    needed
}

fn sealed_disks(disks: &[DiskStack]) -> BTreeSet<SnapshotId> {
    let sealed = disks.iter().flat_map(|disk| &disk.sealed);
    sealed.filter_map(|(id, _)| id.parse().ok()).collect()
}

/// The files of one instance that has a directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct InstanceEntry {
    /// The instance's record; `None` until its launch has started a process.
    pub(crate) record: Option<Arc<MachineRecord>>,
    /// The snapshot from which a fork is to be launched.
    pub(crate) origin: Option<SnapshotId>,
}

impl InstanceEntry {
    fn uses(&self) -> BTreeSet<SnapshotId> {
        let mut used = self.record.as_deref().map(stands_on).unwrap_or_default();
        used.extend(self.origin);
        used
    }
}

/// A user of a snapshot, because of which it is not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum User {
    /// An instance stands on the snapshot, or is to be launched from it.
    Instance(MachineName),
    /// Another snapshot needs the snapshot.
    Snapshot(SnapshotId),
    /// An operation has pinned the snapshot.
    Operation,
}

/// The index of a node's instances and snapshots.
#[derive(Debug, Default)]
pub(crate) struct Index {
    instances: HashMap<MachineName, InstanceEntry>,
    snapshots: HashMap<SnapshotId, Arc<SnapshotInfo>>,
    /// The layer that holds each suspended instance, by the instance's name.
    suspended: HashMap<String, SnapshotId>,
    /// Number of users of each snapshot, also of snapshots that are not in the index (yet).
    users: HashMap<SnapshotId, usize>,
    /// Steps without users.
    idle: BTreeSet<SnapshotId>,
}

impl Index {
    pub(crate) fn instance(&self, name: &MachineName) -> Option<&InstanceEntry> {
        self.instances.get(name)
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = (&MachineName, &InstanceEntry)> {
        self.instances.iter()
    }

    pub(crate) fn snapshot(&self, id: SnapshotId) -> Option<&Arc<SnapshotInfo>> {
        self.snapshots.get(&id)
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &Arc<SnapshotInfo>> {
        self.snapshots.values()
    }

    /// The layer that holds this suspended instance.
    pub(crate) fn suspended(&self, name: &str) -> Option<&Arc<SnapshotInfo>> {
        self.snapshots.get(self.suspended.get(name)?)
    }

    /// Sets the entry of an instance.
    pub(crate) fn put_instance(&mut self, name: MachineName, entry: InstanceEntry) {
        let uses = entry.uses();
        // The new uses first: what both use never becomes idle in between.
        self.add_uses(&uses);
        if let Some(before) = self.instances.insert(name, entry) {
            self.drop_uses(&before.uses());
        }
    }

    pub(crate) fn remove_instance(&mut self, name: &MachineName) {
        if let Some(before) = self.instances.remove(name) {
            self.drop_uses(&before.uses());
        }
    }

    /// Adds a snapshot, or replaces its record.
    pub(crate) fn put_snapshot(&mut self, info: SnapshotInfo) {
        let id = info.id;
        self.add_uses(&info.needs());
        let before = self.snapshots.insert(id, Arc::new(info.clone()));
        if let Some(before) = before {
            self.forget_suspended(&before);
            self.drop_uses(&before.needs());
        }
        if info.record.purpose == Purpose::Suspended {
            self.suspended.insert(info.record.machine, id);
        }
        self.judge(id);
    }

    /// Hides a snapshot whose files are about to be removed: nobody can begin to use it. The snapshots that it needs
    /// are kept until [`Self::finish_removal`].
    ///
    /// # Errors
    ///
    /// A user of the snapshot, if there is one.
    pub(crate) fn begin_removal(
        &mut self,
        id: SnapshotId,
    ) -> Result<Option<Arc<SnapshotInfo>>, User> {
        if self.has_users(id) {
            return Err(self.user_of(id));
        }
        self.idle.remove(&id);
        let removed = self.snapshots.remove(&id);
        if let Some(info) = &removed {
            self.forget_suspended(info);
        }
        Ok(removed)
    }

    /// Completes the removal of a snapshot, after its files were removed.
    pub(crate) fn finish_removal(&mut self, info: &SnapshotInfo) {
        self.drop_uses(&info.needs());
    }

    /// Undoes [`Self::begin_removal`], after the files could not be removed.
    pub(crate) fn undo_removal(&mut self, info: &SnapshotInfo) {
        self.put_snapshot(info.clone());
        self.drop_uses(&info.needs());
    }

    /// The steps without users.
    pub(crate) fn idle_steps(&self) -> Vec<SnapshotId> {
        self.idle.iter().copied().collect()
    }

    /// Adds an operation as a user of a snapshot.
    pub(crate) fn pin(&mut self, id: SnapshotId) {
        self.add_uses(&BTreeSet::from([id]));
    }

    pub(crate) fn unpin(&mut self, id: SnapshotId) {
        self.drop_uses(&BTreeSet::from([id]));
    }

    fn forget_suspended(&mut self, info: &SnapshotInfo) {
        if self.suspended.get(&info.record.machine) == Some(&info.id) {
            self.suspended.remove(&info.record.machine);
        }
    }

    fn has_users(&self, id: SnapshotId) -> bool {
        self.users.contains_key(&id)
    }

    /// Finds a user of a snapshot. Searches the whole index, so it is only used for error messages.
    fn user_of(&self, id: SnapshotId) -> User {
        let instance = self
            .instances
            .iter()
            .find(|(_, entry)| entry.uses().contains(&id));
        if let Some((name, _)) = instance {
            return User::Instance(name.clone());
        }
        let child = self
            .snapshots
            .values()
            .find(|info| info.needs().contains(&id));
        child.map_or(User::Operation, |child| User::Snapshot(child.id))
    }

    fn add_uses(&mut self, uses: &BTreeSet<SnapshotId>) {
        for id in uses {
            *self.users.entry(*id).or_default() += 1;
            self.idle.remove(id);
        }
    }

    fn drop_uses(&mut self, uses: &BTreeSet<SnapshotId>) {
        for id in uses {
            if let Some(count) = self.users.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    self.users.remove(id);
                    self.judge(*id);
                }
            }
        }
    }

    /// Updates whether a snapshot is an idle step.
    fn judge(&mut self, id: SnapshotId) {
        let is_step = self
            .snapshots
            .get(&id)
            .is_some_and(|info| info.record.purpose == Purpose::Step);
        if is_step && !self.has_users(id) {
            self.idle.insert(id);
        } else {
            self.idle.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
