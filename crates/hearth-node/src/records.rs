//! The node's records: the files and the [`Index`], which are changed together.
//!
//! Every change below `machines/` and `snapshots/` is made here, so that the index agrees with the files. Methods that
//! access files block; [`crate::Node::with_records`] runs them off the runtime's threads. Methods that only read the
//! index do not block.
//!
//! An unreadable file harms only the instance or snapshot that it belongs to: at the start its directory is [set
//! aside](crate::damage), and the node continues without it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_snapshot::SnapshotId;
use rustix::io::Errno;

use crate::causes::with_causes;
use crate::damage;
use crate::directory::names;
use crate::error::{NodeError, failed};
use crate::index::{Index, InstanceEntry, SnapshotInfo, User};
use crate::layout::{Layout, MachineName};
use crate::record::{
    self, MACHINE_FILE, MachineRecord, NODE_FILE, ORIGIN_FILE, OriginRecord, Purpose,
    SnapshotRecord,
};
use crate::socket;
use crate::verified::Verified;
use crate::write_lock::{self, remove_all};

/// Whether a record must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The record need not survive a power cut, which ends the running process that it describes anyway.
    UntilPowerCut,
    /// The record must survive a power cut.
    Durable,
}

/// The files of a data directory and their index.
#[derive(Debug)]
pub(crate) struct Records {
    layout: Layout,
    index: Mutex<Index>,
    verified: Verified,
}

/// Keeps a snapshot from being removed while an operation uses it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    records: Arc<Records>,
    id: SnapshotId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.records.index().unpin(self.id);
    }
}

impl Records {
    /// Reads everything below the data directory. Unreadable instances and snapshots are set aside.
    pub(crate) fn load(layout: Layout) -> Result<Self, NodeError> {
        let mut index = Index::default();
        damage::remind(&layout);
        for (directory, prefix) in [
            (layout.machines(), damage::INSTANCE_PREFIX),
            (layout.snapshots(), damage::SNAPSHOT_PREFIX),
        ] {
            go_on(damage::take_back_names(&directory, prefix));
        }
        for entry in names(&layout.machines())? {
            let Ok(name) = entry.parse::<MachineName>() else {
                continue;
            };
            match read_instance(&layout, &name) {
                Ok(found) => index.put_instance(name, found),
                Err(error) if !damage::is_damage(&error) => return Err(error),
                Err(error) => go_on(damage::set_aside_instance(&layout, &name, &error)),
            }
        }
        for id in snapshot_ids(&layout)? {
            go_on(damage::take_back(&layout, id));
        }
        for id in snapshot_ids(&layout)? {
            match read_snapshot(&layout, id) {
                Ok(info) => index.put_snapshot(info),
                Err(error) if !damage::is_damage(&error) => return Err(error),
                Err(error) => go_on(damage::set_aside_snapshot(&layout, id, None, &error)),
            }
        }
        Ok(Self::new(layout, index))
    }

    /// Reads the data directory while another process owns it, and changes nothing. Files that are being written or
    /// removed at the moment are left out.
    pub(crate) fn look(layout: Layout) -> Result<Self, NodeError> {
        let mut index = Index::default();
        for entry in names(&layout.machines())? {
            if let Ok(name) = entry.parse::<MachineName>()
                && let Ok(found) = read_instance(&layout, &name)
            {
                index.put_instance(name, found);
            }
        }
        for id in snapshot_ids(&layout)? {
            if let Ok(info) = read_snapshot(&layout, id) {
                index.put_snapshot(info);
            }
        }
        Ok(Self::new(layout, index))
    }

    fn new(layout: Layout, index: Index) -> Self {
        Self {
            layout,
            index: Mutex::new(index),
            verified: Verified::default(),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The snapshots whose chunks were verified.
    pub(crate) fn verified(&self) -> &Verified {
        &self.verified
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What there is: from memory.

    /// The record of an instance that has a process, or had one.
    pub(crate) fn machine(&self, name: &MachineName) -> Option<Arc<MachineRecord>> {
        self.index().instance(name)?.record.clone()
    }

    pub(crate) fn machines(&self) -> Vec<(MachineName, Arc<MachineRecord>)> {
        let index = self.index();
        let with_record = index
            .instances()
            .filter_map(|(name, entry)| Some((name.clone(), entry.record.clone()?)));
        let mut machines: Vec<_> = with_record.collect();
        machines.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        machines
    }

    /// The names of all instances that have a directory.
    pub(crate) fn names(&self) -> Vec<MachineName> {
        let mut names: Vec<_> = self
            .index()
            .instances()
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn has_directory(&self, name: &MachineName) -> bool {
        self.index().instance(name).is_some()
    }

    /// The snapshot from which a fork is to be launched.
    pub(crate) fn origin(&self, name: &MachineName) -> Option<SnapshotId> {
        self.index().instance(name)?.origin
    }

    pub(crate) fn snapshot(&self, id: SnapshotId) -> Option<Arc<SnapshotInfo>> {
        self.index().snapshot(id).cloned()
    }

    /// All snapshots, oldest first.
    pub(crate) fn snapshots(&self) -> Vec<Arc<SnapshotInfo>> {
        let mut snapshots: Vec<_> = self.index().snapshots().cloned().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.record.created_at, snapshot.id));
        snapshots
    }

    /// The layer that holds a suspended instance.
    pub(crate) fn suspended(&self, name: &MachineName) -> Option<Arc<SnapshotInfo>> {
        self.index().suspended(&name.to_string()).cloned()
    }

    /// Keeps a snapshot from being removed as long as the returned pin lives.
    pub(crate) fn pin(self: &Arc<Self>, id: SnapshotId) -> Result<Pin, NodeError> {
        let mut index = self.index();
        if index.snapshot(id).is_none() {
            return Err(NodeError::UnknownSnapshot(id.to_string()));
        }
        index.pin(id);
        Ok(Pin {
            records: Arc::clone(self),
            id,
        })
    }

    // Instances.

    /// Creates the directory of a new instance.
    pub(crate) fn make_directory(&self, name: &MachineName) -> Result<(), NodeError> {
        let path = self.layout.machine(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(NodeError::Exists(name.to_string()));
            }
            made => made.map_err(failed("make the directory", &path))?,
        }
        self.index()
            .put_instance(name.clone(), InstanceEntry::default());
        Ok(())
    }

    /// Writes the record of an instance.
    pub(crate) fn write_machine(
        &self,
        name: &MachineName,
        record: MachineRecord,
        durability: Durability,
    ) -> Result<Arc<MachineRecord>, NodeError> {
        let path = self.layout.machine(name).join(MACHINE_FILE);
        match durability {
            Durability::UntilPowerCut => record::write_volatile(&path, &record)?,
            Durability::Durable => {
                record::write(&path, &record)?;
                // A launch does not wait until its directory is durable.
                record::sync_parent(&self.layout.machine(name))?;
            }
        }
        let record = Arc::new(record);
        let mut index = self.index();
        let mut entry = index.instance(name).cloned().unwrap_or_default();
        entry.record = Some(Arc::clone(&record));
        index.put_instance(name.clone(), entry);
        Ok(record)
    }

    /// Creates the directory of a fork and writes there from which snapshot it will be launched.
    pub(crate) fn reserve(&self, child: &MachineName, origin: SnapshotId) -> Result<(), NodeError> {
        self.make_directory(child)?;
        let path = self.layout.machine(child).join(ORIGIN_FILE);
        let form = OriginRecord {
            snapshot: origin.to_string(),
        };
        // A launch that was cut in two is not taken up again.
        if let Err(error) = record::write_volatile(&path, &form) {
            // The directory is empty; what cannot be removed now is swept.
            let _ = self.remove_machine(child);
            return Err(error);
        }
        let entry = InstanceEntry {
            record: None,
            origin: Some(origin),
        };
        self.index().put_instance(child.clone(), entry);
        Ok(())
    }

    /// Removes the origin record of a fork that was launched: its own record now says what it stands on.
    pub(crate) fn release_origin(&self, child: &MachineName) -> Result<(), NodeError> {
        let path = self.layout.machine(child).join(ORIGIN_FILE);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        let mut index = self.index();
        if let Some(mut entry) = index.instance(child).cloned() {
            entry.origin = None;
            index.put_instance(child.clone(), entry);
        }
        Ok(())
    }

    /// Removes the directory of an instance whose process has ended. Succeeds if it does not exist.
    pub(crate) fn remove_machine(&self, name: &MachineName) -> Result<(), NodeError> {
        self.unlock_sealed_by(name);
        // The record goes last: files of a VMM without a record would be taken for damage after a crash in between.
        remove_all(&self.layout.own(name))?;
        remove_all(&self.layout.incoming(name))?;
        remove_all(&self.layout.machine(name))?;
        self.index().remove_instance(name);
        Ok(())
    }

    /// Unlocks the snapshots that an instance sealed and stands on, as no writable descriptors of their files are left.
    fn unlock_sealed_by(&self, name: &MachineName) {
        let parent = self
            .machine(name)
            .and_then(|record| record.parent.as_ref()?.parse().ok());
        let Some(parent) = parent.and_then(|id| self.snapshot(id)) else {
            return;
        };
        let name = name.to_string();
        let ancestors = parent.ancestors.iter().map_while(|id| self.snapshot(*id));
        let own = std::iter::once(Arc::clone(&parent))
            .chain(ancestors)
            .take_while(|info| info.record.machine == name);
        for info in own {
            write_lock::unlock(&self.layout.snapshot(info.id));
        }
    }

    // Snapshots.

    /// Moves a finished snapshot with its record into place among the others.
    pub(crate) fn place(
        &self,
        incoming: &Path,
        info: SnapshotInfo,
    ) -> Result<SnapshotId, NodeError> {
        let id = info.id;
        let place = self.layout.snapshot(id);
        let owner = incoming.join(damage::owner_file(&info.record.machine));
        fs::File::create(&owner).map_err(failed("create", &owner))?;
        fs::rename(incoming, &place).map_err(failed("move the snapshot into place", &place))?;
        self.index().put_snapshot(info);
        record::sync_parent(&place)?;
        Ok(id)
    }

    /// Turns a suspended instance's layer into a step.
    pub(crate) fn mark_as_step(&self, info: &SnapshotInfo) -> Result<(), NodeError> {
        let step = SnapshotInfo {
            record: SnapshotRecord {
                purpose: Purpose::Step,
                ..info.record.clone()
            },
            ..info.clone()
        };
        record::write(&self.layout.snapshot(info.id).join(NODE_FILE), &step.record)?;
        self.index().put_snapshot(step);
        Ok(())
    }

    /// Deletes a snapshot that has no users. Succeeds if it does not exist.
    pub(crate) fn remove_snapshot(&self, id: SnapshotId) -> Result<(), NodeError> {
        let removed = self.index().begin_removal(id);
        let removed = removed.map_err(|user| match user {
            User::Instance(machine) => NodeError::InUse {
                id,
                machine: machine.to_string(),
            },
            User::Snapshot(child) => NodeError::HasChildren { id, child },
            User::Operation => NodeError::BeingUsed(id),
        })?;
        let outcome = remove_all(&self.layout.snapshot(id));
        if let Some(info) = removed {
            self.verified.forget([id]);
            let mut index = self.index();
            match &outcome {
                Ok(()) => index.finish_removal(&info),
                Err(_) => index.undo_removal(&info),
            }
        }
        outcome
    }

    /// Removes the steps that have no users any more.
    pub(crate) fn drop_idle_steps(&self) -> Result<(), NodeError> {
        loop {
            // Removing one may make the one below it idle.
            let idle = self.index().idle_steps();
            if idle.is_empty() {
                return Ok(());
            }
            for id in idle {
                match self.remove_snapshot(id) {
                    // Somebody has begun to use it meanwhile.
                    Err(
                        NodeError::BeingUsed(_)
                        | NodeError::InUse { .. }
                        | NodeError::HasChildren { .. },
                    ) => {}
                    other => other?,
                }
            }
        }
    }

    /// Sets aside the layer of a suspended instance, because it cannot be restored.
    pub(crate) fn set_aside(
        &self,
        info: &SnapshotInfo,
        reason: &dyn std::error::Error,
    ) -> Result<(), NodeError> {
        let owner = Some(info.record.machine.as_str());
        let removed = self.index().begin_removal(info.id);
        match removed {
            Ok(Some(info)) => {
                let outcome = damage::set_aside_snapshot(&self.layout, info.id, owner, reason);
                let mut index = self.index();
                match &outcome {
                    Ok(()) => index.finish_removal(&info),
                    Err(_) => index.undo_removal(&info),
                }
                outcome
            }
            // Others stand on it; they say the same when they are resumed.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Sets aside the directory of an instance whose process has ended.
    pub(crate) fn set_aside_instance(
        &self,
        name: &MachineName,
        reason: &dyn std::error::Error,
    ) -> Result<(), NodeError> {
        damage::set_aside_instance(&self.layout, name, reason)?;
        self.index().remove_instance(name);
        Ok(())
    }

    /// Looks on disk for a snapshot that the index does not have: another process with the same data directory (`hearth
    /// machine`) may have made it.
    pub(crate) fn look_for_snapshot(&self, id: SnapshotId) -> Option<Arc<SnapshotInfo>> {
        if let Some(known) = self.snapshot(id) {
            return Some(known);
        }
        let info = read_snapshot(&self.layout, id).ok()?;
        self.index().put_snapshot(info);
        self.snapshot(id)
    }
}

fn snapshot_ids(layout: &Layout) -> Result<Vec<SnapshotId>, NodeError> {
    let entries = names(&layout.snapshots())?;
    Ok(entries
        .iter()
        .filter_map(|entry| entry.parse().ok())
        .collect())
}

/// Logs that something damaged could not be moved, on a full disk perhaps. It stays where it is, and the node continues
/// without it.
fn go_on(moved: Result<(), NodeError>) {
    if let Err(error) = moved {
        let error = with_causes(&error);
        tracing::error!(
            error,
            "cannot set aside something damaged; it stays where it is"
        );
    }
}

fn read_instance(layout: &Layout, name: &MachineName) -> Result<InstanceEntry, NodeError> {
    let directory = layout.machine(name);
    let path = directory.join(MACHINE_FILE);
    let record: Option<MachineRecord> = record::read(&path)?;
    if record.is_none() && has_run(layout, name)? {
        return Err(failed("read", &path)(Errno::NOENT.into()));
    }
    let origin = match read_origin(&directory.join(ORIGIN_FILE)) {
        // It was launched: its own record says what it stands on.
        Err(_) if record.is_some() => None,
        origin => origin?,
    };
    Ok(InstanceEntry {
        record: record.map(Arc::new),
        origin,
    })
}

fn read_origin(path: &Path) -> Result<Option<SnapshotId>, NodeError> {
    let record: Option<OriginRecord> = record::read(path)?;
    let id = record.map(|record| {
        let id = record.snapshot.parse();
        id.map_err(|_| NodeError::Record {
            path: path.to_owned(),
            source: serde::de::Error::custom("it does not name a snapshot"),
        })
    });
    id.transpose()
}

/// Whether a VMM was given its first command, which happens after the record was written. Until then it has created
/// nothing but its socket.
fn has_run(layout: &Layout, name: &MachineName) -> Result<bool, NodeError> {
    if layout.incoming(name).exists() {
        return Ok(true);
    }
    match names(&layout.own(name)) {
        Ok(files) => Ok(files.iter().any(|file| file != socket::CONTROL)),
        Err(NodeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_snapshot(layout: &Layout, id: SnapshotId) -> Result<SnapshotInfo, NodeError> {
    let directory = layout.snapshot(id);
    let path = directory.join(NODE_FILE);
    let missing = || failed("read", &path)(Errno::NOENT.into());
    let record: SnapshotRecord = record::read(&path)?.ok_or_else(missing)?;
    let ancestors = match &record.shape {
        Some(shape) => {
            shape.check_files(&directory)?;
            shape.ancestors()?
        }
        // Written by a release that did not note it.
        None => {
            let description = hearth_snapshot::describe(&directory)?;
            if description.id != id {
                return Err(NodeError::Mistaken {
                    path: directory,
                    found: description.id,
                });
            }
            description.ancestors
        }
    };
    Ok(SnapshotInfo {
        id,
        ancestors,
        record,
    })
}

#[cfg(test)]
mod tests;
