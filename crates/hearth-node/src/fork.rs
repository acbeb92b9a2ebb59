//! Forks: a second microVM that begins where another one is.
//!
//! ```text
//! parent runs      ── seal as a step ──┐
//! parent suspended ────────────────────┴─> origin.json in the child's directory ──> launch ──> origin.json removed
//! ```
//!
//! The step is on disk and in the parent's record before the child has a file; the child's `origin.json` keeps it
//! until the child's own record does. A crash leaves a directory without a process, which [`Node::sweep`] removes, and
//! then a step that nobody but the parent stands on.

use std::fs;

use hearth_net::Egress;
use hearth_snapshot::SnapshotId;

use crate::error::{NodeError, failed};
use crate::launch::{CloneRequest, Identity, Launched, NewDirectory};
use crate::layout::MachineName;
use crate::node::Node;
use crate::record::{self, ORIGIN_FILE, OriginRecord, Purpose};

/// What a child begins from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// How long the parent's machine stood still, in microseconds; `None` when it was suspended.
    pub paused_us: Option<u64>,
}

impl Node {
    /// Makes a second microVM that begins where `parent` is now; both go on.
    pub async fn fork(
        &self,
        parent: &MachineName,
        child: &MachineName,
    ) -> Result<Launched, NodeError> {
        self.seal_for(parent, child).await?;
        self.launch_fork(child, None).await
    }

    /// Seals where `parent` is, or takes the snapshot that it is suspended in, and keeps that for `child`. It stays as
    /// long as one of the two stands on it, and until [`Node::erase`] of the child.
    pub async fn seal_for(
        &self,
        parent: &MachineName,
        child: &MachineName,
    ) -> Result<Sealed, NodeError> {
        if self.machine(parent).is_ok_and(|machine| machine.is_saved()) {
            // It is suspended; its layer still lies where it was sealed.
            self.settle(parent).await?;
        }
        let sealed = match self.machine(parent) {
            Ok(mut machine) => {
                let (snapshot, summary) = machine.seal(Purpose::Step).await?;
                Sealed {
                    snapshot,
                    paused_us: Some(summary.paused_us),
                }
            }
            Err(NodeError::UnknownMachine(_)) => Sealed {
                snapshot: self.suspended(parent)?.id,
                paused_us: None,
            },
            Err(error) => return Err(error),
        };
        let directory = NewDirectory::make(self, child)?;
        let origin = OriginRecord {
            snapshot: sealed.snapshot.to_string(),
        };
        // A power cut ends the parent too, and a launch that was cut in two is not taken up again.
        record::write_volatile(&self.layout().machine(child).join(ORIGIN_FILE), &origin)?;
        // Had the parent been erased in between, nothing would have kept the snapshot.
        self.snapshot_record(sealed.snapshot)?;
        directory.keep();
        Ok(sealed)
    }

    /// Launches a fork from what is kept for it, with the parent's ways out or others. When that fails, nothing of it is left.
    pub async fn launch_fork(
        &self,
        child: &MachineName,
        egress: Option<Egress>,
    ) -> Result<Launched, NodeError> {
        let path = self.layout().machine(child).join(ORIGIN_FILE);
        let origin: OriginRecord =
            record::read(&path)?.ok_or_else(|| NodeError::UnknownMachine(child.to_string()))?;
        let directory = NewDirectory::taken_over(self, child);
        let snapshot = (origin.snapshot.parse())
            .map_err(|_| NodeError::UnknownSnapshot(origin.snapshot.clone()))?;
        let record = self.snapshot_record(snapshot)?;
        let request = CloneRequest {
            egress,
            ..CloneRequest::new(snapshot)
        };
        let launched = self
            .restore(directory, &request, record, Identity::New)
            .await;
        match &launched {
            Ok(_) => fs::remove_file(&path).map_err(failed("remove", &path))?,
            Err(_) => self.drop_unneeded_steps()?,
        }
        launched
    }

    /// The snapshots that forks wait for.
    pub(crate) fn origins(&self) -> Result<Vec<(MachineName, SnapshotId)>, NodeError> {
        let mut origins = Vec::new();
        for name in self.names()? {
            let path = self.layout().machine(&name).join(ORIGIN_FILE);
            let Some(origin) = record::read::<OriginRecord>(&path)? else {
                continue;
            };
            if let Ok(snapshot) = origin.snapshot.parse() {
                origins.push((name, snapshot));
            }
        }
        Ok(origins)
    }
}
