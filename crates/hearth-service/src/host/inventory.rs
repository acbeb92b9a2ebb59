//! What there is on the host, read from the node's own records.

use std::collections::{BTreeMap, BTreeSet};

use hearth_control::id::{BuildId, MicrovmId};
use hearth_control::node::{Inventory, Presence, SnapshotRef};
use hearth_node::{NodeError, Purpose, Standing};

use super::HostNode;

/// Beginnings of the names of machines that belong to builds.
pub(crate) const BUILDER: &str = "builder-";
pub(crate) const BUILD: &str = "build-";
pub(crate) const VALIDATE: &str = "validate-";

impl HostNode {
    pub(super) fn take_inventory(&self) -> Result<Inventory, NodeError> {
        let mut microvms: BTreeMap<MicrovmId, Presence> = BTreeMap::new();
        let mut snapshots = Vec::new();
        let mut builds: BTreeSet<BuildId> = self.workshop.left_behind().into_iter().collect();
        for snapshot in self.node.snapshots()? {
            let machine = &snapshot.record.machine;
            match snapshot.record.purpose {
                Purpose::Suspended => {
                    if let Ok(id) = machine.parse() {
                        microvms.insert(id, Presence::Suspended);
                    }
                }
                Purpose::Template => {
                    if let Some(build) = build_of(machine) {
                        snapshots.push((SnapshotRef(snapshot.id.to_string()), build));
                    }
                }
                Purpose::Step => {}
            }
        }
        for (machine, record) in self.node.machines()? {
            let name = machine.to_string();
            if let Ok(id) = name.parse() {
                if record.process.is_alive() {
                    microvms.insert(id, Presence::Running);
                } else if self.node.standing(&machine)? == Standing::Suspended {
                    microvms.insert(id, Presence::Suspended);
                } else {
                    // A suspended one whose resume was cut in two is still suspended.
                    microvms.entry(id).or_insert(Presence::Debris);
                }
            }
            builds.extend(build_of(&name));
        }
        // A directory without a record: a fork that waits for its launch, or what a launch has left.
        for name in self.node.names()? {
            if let Ok(id) = name.to_string().parse() {
                microvms.entry(id).or_insert(Presence::Debris);
            }
        }
        // The files of a build that has a snapshot belong to the snapshot.
        for (_, build) in &snapshots {
            builds.remove(build);
        }
        Ok(Inventory {
            microvms: microvms.into_iter().collect(),
            snapshots,
            builds: builds.into_iter().collect(),
        })
    }
}

/// The build that a machine belongs to.
pub(crate) fn build_of(machine: &str) -> Option<BuildId> {
    let id = [BUILDER, BUILD, VALIDATE]
        .iter()
        .find_map(|beginning| machine.strip_prefix(beginning))?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_builds_are_known_by_their_names() {
        let id = BuildId::generate();
        for beginning in [BUILDER, BUILD, VALIDATE] {
            assert_eq!(build_of(&format!("{beginning}{id}")), Some(id));
        }
        assert_eq!(build_of(&MicrovmId::generate().to_string()), None);
        assert_eq!(build_of("build-first"), None);
    }
}
