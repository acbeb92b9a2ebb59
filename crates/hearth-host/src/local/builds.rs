//! Removes the instances, files and snapshots of builds.

use hearth_control::host::{HostError, SnapshotRef};
use hearth_control::id::BuildId;
use hearth_node::with_causes;

use super::LocalHost;
use crate::build_names::{BUILD, BUILDER, VALIDATE, build_of};

impl LocalHost {
    /// Ends a build and removes its instances, and its files unless its snapshot stands on them.
    pub(super) async fn discard_files(&self, id: BuildId) -> Result<(), HostError> {
        let failed = |error: hearth_node::NodeError| HostError(with_causes(&error));
        for beginning in [BUILDER, BUILD, VALIDATE] {
            let name = format!("{beginning}{id}").parse();
            let name = name.map_err(|error: hearth_node::NameError| failed(error.into()))?;
            self.node().erase(&name).await.map_err(failed)?;
        }
        let snapshots = self.node().snapshots();
        let is_kept = snapshots
            .iter()
            .any(|snapshot| build_of(&snapshot.record.machine) == Some(id));
        match is_kept {
            true => Ok(()),
            false => self.version_builder().forget(id).await,
        }
    }

    /// Removes a sealed snapshot and the disks that only this snapshot needs. No-op if the snapshot is absent.
    pub(super) async fn free(&self, snapshot: &SnapshotRef) -> Result<(), HostError> {
        let failed = |error: hearth_node::NodeError| HostError(with_causes(&error));
        let snapshots = self.node().snapshots();
        let wanted = snapshots
            .iter()
            .find(|known| known.id.to_string() == snapshot.0);
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let deleted = self.node().delete_snapshot(wanted.id);
        deleted.await.map_err(failed)?;
        match build_of(&wanted.record.machine) {
            Some(build) => self.version_builder().forget(build).await,
            None => Ok(()),
        }
    }
}
