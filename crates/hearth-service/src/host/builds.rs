//! What builds leave: removing it.

use hearth_control::id::BuildId;
use hearth_control::node::{NodeError, SnapshotRef};

use super::HostNode;
use super::inventory::{BUILD, BUILDER, VALIDATE, build_of};
use super::whole;

impl HostNode {
    /// Ends a build and removes its machines, and its files unless its snapshot stands on them.
    pub(super) async fn discard(&self, id: BuildId) -> Result<(), NodeError> {
        let failed = |error: hearth_node::NodeError| NodeError(whole(&error));
        for beginning in [BUILDER, BUILD, VALIDATE] {
            let name = format!("{beginning}{id}").parse();
            let name = name.map_err(|error: hearth_node::NameError| failed(error.into()))?;
            self.node.erase(&name).await.map_err(failed)?;
        }
        let snapshots = self.node.snapshots().map_err(failed)?;
        let is_kept = snapshots
            .iter()
            .any(|snapshot| build_of(&snapshot.record.machine) == Some(id));
        if is_kept {
            return Ok(());
        }
        self.workshop.forget(id)
    }

    /// Removes a sealed snapshot and the disks that only it stands on.
    pub(super) async fn free(&self, snapshot: &SnapshotRef) -> Result<(), NodeError> {
        let failed = |error: hearth_node::NodeError| NodeError(whole(&error));
        let snapshots = self.node.snapshots().map_err(failed)?;
        let wanted = snapshots
            .iter()
            .find(|known| known.id.to_string() == snapshot.0);
        let Some(wanted) = wanted else {
            return Ok(());
        };
        self.node.delete_snapshot(wanted.id).map_err(failed)?;
        match build_of(&wanted.record.machine) {
            Some(build) => self.workshop.forget(build),
            None => Ok(()),
        }
    }
}
