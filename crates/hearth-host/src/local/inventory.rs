//! The inventory of the host, read from the node's index.

use std::collections::{BTreeMap, BTreeSet};

use hearth_control::host::{Inventory, Presence, SnapshotRef};
use hearth_control::id::BuildId;
use hearth_control::instance::InstanceId;
use hearth_node::{NodeError, Purpose, Standing};

use super::LocalHost;
use crate::build_names::build_of;

impl LocalHost {
    /// Blocks: it reads files.
    pub(super) fn take_inventory(&self) -> Result<Inventory, NodeError> {
        let node = self.node();
        let mut instances: BTreeMap<InstanceId, Presence> = BTreeMap::new();
        let mut snapshots = Vec::new();
        let mut builds: BTreeSet<BuildId> =
            self.version_builder().left_behind().into_iter().collect();
        let damaged = node.damaged()?;
        // Entries below overwrite these if the same instance exists in a better condition.
        for damage in &damaged {
            let instance = damage.instance.as_ref();
            if let Some(id) = instance.and_then(|name| name.parse().ok()) {
                instances.insert(id, Presence::Damaged(self.told(&damage.reason)));
            }
        }
        for snapshot in node.snapshots() {
            let machine = &snapshot.record.machine;
            match snapshot.record.purpose {
                Purpose::Suspended => {
                    if let Ok(id) = machine.parse() {
                        instances.insert(id, Presence::Suspended);
                    }
                }
                Purpose::Template => {
                    if let Some(build) = build_of(machine) {
                        snapshots.push((SnapshotRef(snapshot.id.to_string()), build));
                    }
                }
                Purpose::Step | Purpose::Booted => {}
            }
        }
        for name in node.names() {
            let text = name.to_string();
            builds.extend(build_of(&text));
            let Ok(id) = text.parse() else {
                continue;
            };
            match node.look(&name) {
                Standing::Runs => {
                    instances.insert(id, Presence::Running);
                }
                Standing::Suspended => {
                    instances.insert(id, Presence::Suspended);
                }
                Standing::Busy => {
                    instances.insert(id, Presence::Busy);
                }
                // A directory whose process is gone, or which never had one: a fork that waits for its launch, or what a launch
                // has left.
                Standing::Gone => {
                    instances.entry(id).or_insert(Presence::Debris);
                }
            }
        }
        for (id, presence) in &mut instances {
            if self.0.operations.is_busy(*id) {
                *presence = Presence::Busy;
            }
        }
        // The files of a build that has a snapshot belong to the snapshot, also if the snapshot was set aside: the
        // operator may repair it.
        for (_, build) in &snapshots {
            builds.remove(build);
        }
        let owners = damaged.iter().filter_map(|damage| damage.instance.as_ref());
        for build in owners.filter_map(|name| build_of(name)) {
            builds.remove(&build);
        }
        Ok(Inventory {
            instances: instances.into_iter().collect(),
            snapshots,
            builds: builds.into_iter().collect(),
        })
    }
}
