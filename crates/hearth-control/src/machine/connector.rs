//! The state machine of a network connector.
//!
//! ```text
//!   Pending ──> Active ──> Deleting ──> gone
//!      └──────> Failed ───────^ │
//!                               v
//!                         DeleteFailed ──> Deleting
//! ```
//!
//! An update of an ACTIVE connector adds a version. While that is checked, the connector stays ACTIVE with the
//! version before. `UpdateStatus` tells the outcome.

use crate::connector::{ConnectorState, UpdateStatus};

/// The part of a connector that its state machine changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The state of the connector.
    pub state: ConnectorState,
    /// The outcome of the last update.
    pub update: Option<UpdateStatus>,
    /// The version in force, or the first one.
    pub latest: u32,
    /// The highest version number used so far.
    pub last: u32,
}

/// The events of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The newest version names only rule sets that exist.
    Accepted,
    /// The newest version names a rule set that does not exist.
    Rejected,
    /// A caller changes the configuration.
    Update,
    /// A caller's update changes nothing.
    UpdateToSame,
    /// A caller deletes the connector.
    Delete,
}

impl Standing {
    /// A connector that was just requested.
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

    /// The next state after an event. `None` if the event does not fit the state.
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
