//! The state machine of an image version.
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
//! Besides the state a version has a status: success makes it ACTIVE, and callers can switch a successful version.

use crate::image::{VersionState, VersionStatus};

/// The part of a version that its state machine changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// The state of the version.
    pub state: VersionState,
    /// Whether the version may be launched.
    pub status: VersionStatus,
}

/// The events of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The build begins.
    Began,
    /// The build sealed a snapshot.
    Built,
    /// The build failed.
    BuildFailed,
    /// A caller sets the status.
    SetStatus(VersionStatus),
    /// A caller deletes the version.
    Delete,
    /// The snapshot could not be removed.
    DeleteFailed,
}

impl Version {
    /// A version that was just requested.
    pub const NEW: Self = Self {
        state: VersionState::Pending,
        status: VersionStatus::Inactive,
    };

    /// Whether microVMs may be launched from the version.
    #[must_use]
    pub const fn is_launchable(self) -> bool {
        matches!(self.state, VersionState::Successful)
            && matches!(self.status, VersionStatus::Active)
    }

    /// The next state after an event. `None` if the event does not fit the state.
    #[must_use]
    pub const fn step(self, event: Event) -> Option<Self> {
        use VersionState::{DeleteFailed, Deleting, Failed, InProgress, Pending, Successful};
        let Self { state, status } = self;
        let (state, status) = match (event, state) {
            // A build also begins again after a restart.
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
