//! The life of a network connector.
//!
//! ```text
//!   Pending ──> Active ──> Deleting ──> gone
//!      └──────> Failed ───────^ │
//!                               v
//!                         DeleteFailed ──> Deleting
//! ```
//!
//! An update of an ACTIVE connector adds a version that is checked while the connector stays ACTIVE with the version
//! before; `UpdateStatus` tells how that went.

use crate::connector::{ConnectorState, UpdateStatus};

/// The part of a connector that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Where it is.
    pub state: ConnectorState,
    /// How its last update went.
    pub update: Option<UpdateStatus>,
    /// The version in force, or the first one.
    pub latest: u32,
    /// The number that was given out last.
    pub last: u32,
}

/// What can happen to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The version given out last names only what exists.
    Accepted,
    /// It does not.
    Rejected,
    /// A caller changes it.
    Update,
    /// A caller's change changes nothing.
    UpdateToSame,
    /// A caller wants it gone.
    Delete,
}

impl Standing {
    /// A connector that was just asked for.
    pub const NEW: Self = Self {
        state: ConnectorState::Pending,
        update: None,
        latest: 1,
        last: 1,
    };

    /// Whether a version waits to be checked.
    #[must_use]
    pub const fn is_unsettled(self) -> bool {
        matches!(self.state, ConnectorState::Pending)
            || matches!(self.update, Some(UpdateStatus::InProgress))
    }

    /// What it is after an event; `None` when the event does not fit its state.
    #[must_use]
    pub fn step(self, event: Event) -> Option<Self> {
        use ConnectorState::{Active, DeleteFailed, Deleting, Failed, Pending};
        let updating = self.update == Some(UpdateStatus::InProgress);
        let with = |update| {
            Some(Self {
                update: Some(update),
                ..self
            })
        };
        match (event, self.state) {
            (Event::Accepted, Pending) => Some(Self {
                state: Active,
                ..self
            }),
            (Event::Rejected, Pending) => Some(Self {
                state: Failed,
                ..self
            }),
            (Event::Accepted, Active) if updating => Some(Self {
                update: Some(UpdateStatus::Successful),
                latest: self.last,
                ..self
            }),
            (Event::Rejected, Active) if updating => with(UpdateStatus::Failed),
            (Event::Update, Active) if !updating => {
                let last = self.last.checked_add(1)?;
                Some(Self {
                    update: Some(UpdateStatus::InProgress),
                    last,
                    ..self
                })
            }
            (Event::UpdateToSame, Active) if !updating => with(UpdateStatus::Successful),
            (Event::Delete, Active | Failed | DeleteFailed) => Some(Self {
                state: Deleting,
                update: None,
                ..self
            }),
            _ => None,
        }
    }
}
