//! Remembers the snapshots whose chunks were verified.
//!
//! A snapshot's files never change once they are sealed, so each is read and hashed once: while it is sealed, or when it is first
//! opened by this node. A wake then costs the same after any number of earlier ones. `hearth snapshot verify` reads everything
//! again.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hearth_snapshot::SnapshotId;

/// Ids of verified snapshots. An id is the hash of what was sealed, so another snapshot never has it.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<HashSet<SnapshotId>>);

impl Verified {
    pub(crate) fn add(&self, ids: impl IntoIterator<Item = SnapshotId>) {
        self.lock().extend(ids);
    }

    /// Those among `ids` that were verified, and need not be read again.
    pub(crate) fn among(&self, ids: impl IntoIterator<Item = SnapshotId>) -> Vec<[u8; 32]> {
        let verified = self.lock();
        let known = ids.into_iter().filter(|id| verified.contains(id));
        known.map(|id| id.0).collect()
    }

    /// Forgets these snapshots: they are read again when they are opened next.
    pub(crate) fn forget(&self, ids: impl IntoIterator<Item = SnapshotId>) {
        let mut verified = self.lock();
        for id in ids {
            verified.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SnapshotId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
