//! The life of an image version.
//!
//! ```text
//!   Pending ──> InProgress ──> Successful ──┐
//!                    │   └───> Failed ──────┤
//!                    └── (restart) Pending  v
//!                                       Deleting ──> gone
//!                                        │    ^
//!                                        v    │
//!                                     DeleteFailed
//! ```
//!
//! Beside it stands the status: success makes a version ACTIVE, callers switch a successful one at will.

use crate::image::{VersionState, VersionStatus};

/// The part of a version that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Where it is.
    pub state: VersionState,
    /// Whether it may be launched.
    pub status: VersionStatus,
}

/// What can happen to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its build begins.
    Began,
    /// Its build sealed a snapshot.
    Built,
    /// Its build failed.
    BuildFailed,
    /// A caller switches it.
    SetStatus(VersionStatus),
    /// A caller wants it gone.
    Delete,
    /// Its snapshot could not be removed.
    DeleteFailed,
}

impl Version {
    /// A version that was just asked for.
    pub const NEW: Self = Self {
        state: VersionState::Pending,
        status: VersionStatus::Inactive,
    };

    /// Whether microVMs may be launched from it.
    #[must_use]
    pub const fn is_launchable(self) -> bool {
        matches!(self.state, VersionState::Successful)
            && matches!(self.status, VersionStatus::Active)
    }

    /// What it is after an event; `None` when the event does not fit its state.
    #[must_use]
    pub const fn step(self, event: Event) -> Option<Self> {
        use VersionState::{DeleteFailed, Deleting, Failed, InProgress, Pending, Successful};
        let Self { state, status } = self;
        let (state, status) = match (event, state) {
            // Begun again after a restart, too.
            (Event::Began, Pending | InProgress) => (InProgress, status),
            (Event::Built, InProgress) => (Successful, VersionStatus::Active),
            (Event::BuildFailed, Pending | InProgress) => (Failed, VersionStatus::Inactive),
            (Event::SetStatus(status), Successful) => (Successful, status),
            (Event::Delete, Successful | Failed | DeleteFailed) => {
                (Deleting, VersionStatus::Inactive)
            }
            (Event::DeleteFailed, Deleting) => (DeleteFailed, VersionStatus::Inactive),
            _ => return None,
        };
        Some(Self { state, status })
    }
}
