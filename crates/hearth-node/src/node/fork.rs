//! Forks: a second instance that begins with the state of another one.
//!
//! ```text
//! parent runs      ── seal as a step ──┐
//! parent suspended ────────────────────┴─> origin.json in the child's directory ──> launch ──> origin.json removed
//! ```
//!
//! The step is on disk and in the parent's record before the child has a file. The child's `origin.json` keeps the step
//! from being removed until the child's own record does. A crash leaves a directory without a process, which
//! [`Node::sweep`] removes, and a step whose only user is the parent.

use hearth_net::Egress;
use hearth_snapshot::SnapshotId;
use hearth_wire::vmm::GuestClock;

use crate::crash_point::reach;
use crate::error::NodeError;
use crate::layout::MachineName;
use crate::node::Node;
use crate::node::instance::{Instance, Settled};
use crate::node::launch::{CloneRequest, Identity, Launched, Restoring};
use crate::record::Purpose;

/// The snapshot from which a fork is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// How long the parent was paused, in microseconds; `None` if it was suspended.
    pub paused_us: Option<u64>,
}

impl Node {
    /// Creates a second instance from the current state of `parent`. The parent continues.
    pub async fn fork(
        &self,
        parent: &MachineName,
        child: &MachineName,
    ) -> Result<Launched, NodeError> {
        self.seal_for(parent, child).await?;
        self.launch_fork(child, None).await
    }

    /// Seals the current state of `parent`, or takes the snapshot of a suspended one, and keeps it for `child`. The
    /// snapshot stays as long as one of the two stands on it, and until [`Node::erase`] of the child.
    pub async fn seal_for(
        &self,
        parent: &MachineName,
        child: &MachineName,
    ) -> Result<Sealed, NodeError> {
        let child = child.clone();
        self.in_turn(parent, |instance| async move {
            let sealed = instance.seal_or_take().await?;
            reach(instance.node.layout(), "fork.sealed");
            // The parent cannot be removed meanwhile, so its snapshot stays.
            let origin = sealed.snapshot;
            instance
                .with_files(move |records, _| records.reserve(&child, origin))
                .await?;
            reach(instance.node.layout(), "fork.reserved");
            Ok(sealed)
        })
        .await
    }

    /// Launches a fork from the snapshot that is kept for it, with the parent's egress or another. If the launch fails,
    /// or if the caller is dropped, nothing of the fork is left.
    pub async fn launch_fork(
        &self,
        child: &MachineName,
        egress: Option<Egress>,
    ) -> Result<Launched, NodeError> {
        self.launch_in_turn(child, |instance| async move {
            let launched = instance.launch_from_origin(egress).await;
            instance.undo_unless_ok(launched).await
        })
        .await
    }
}

impl Instance {
    async fn seal_or_take(&self) -> Result<Sealed, NodeError> {
        // Its layer may still lie where it was sealed.
        let runs = match self.node.records().has_directory(self.name()) {
            true => self.settle().await? == Settled::Runs,
            false => false,
        };
        if !runs {
            let info = self.node.suspended(self.name())?;
            return Ok(Sealed {
                snapshot: info.id,
                paused_us: None,
            });
        }
        let (snapshot, summary) = self.seal(Purpose::Step).await?;
        Ok(Sealed {
            snapshot,
            paused_us: Some(summary.paused_us),
        })
    }

    async fn launch_from_origin(&self, egress: Option<Egress>) -> Result<Launched, NodeError> {
        let origin = self.node.records().origin(self.name());
        let origin = origin.ok_or_else(|| NodeError::UnknownMachine(self.name().to_string()))?;
        let request = CloneRequest {
            egress,
            ..CloneRequest::new(origin)
        };
        let restoring = Restoring {
            identity: Identity::New,
            // Its parent may have slept for long.
            clock: GuestClock::MovesOn,
        };
        let launched = self.restore(&request, restoring).await?;
        self.with_files(|records, name| records.release_origin(name))
            .await?;
        reach(self.node.layout(), "fork.launched");
        Ok(launched)
    }
}
