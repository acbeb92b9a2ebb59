//! The state machine of a build.
//!
//! ```text
//!   Pending ──> InProgress ──> Successful
//!      │          │  ^  └────> Failed
//!      │          └──┘ begun again after a restart, a bounded number of times
//!      └─────────────────────> Failed
//! ```

use crate::image::BuildState;

/// `stateReason` of a build that was interrupted too often.
pub const REASON_INTERRUPTED: &str = "The build was interrupted by restarts of the service.";
/// `stateReason` of a build that took longer than any build may.
pub const REASON_TIMED_OUT: &str = "The build timed out.";

/// `stateReason` of a build that its account has cancelled.
pub const REASON_CANCELLED: &str = "The build was cancelled.";

/// The events of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The build has a slot and begins, or begins again.
    Begin {
        /// How often the build may begin.
        max_attempts: u32,
    },
    /// The build sealed a snapshot.
    Built,
    /// The build failed.
    Failed,
}

/// The part of a build that its state machine changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The state of the build.
    pub state: BuildState,
    /// How often the build has begun.
    pub attempts: u32,
}

impl Progress {
    /// A build that was just requested.
    pub const NEW: Self = Self {
        state: BuildState::Pending,
        attempts: 0,
    };

    /// The next state after an event. `None` if the event does not fit the state.
    #[must_use]
    pub const fn step(self, event: Event) -> Option<Self> {
        use BuildState::{Failed, InProgress, Pending, Successful};
        let Self { state, attempts } = self;
        match (event, state) {
            (Event::Begin { max_attempts }, Pending | InProgress) => {
                if attempts >= max_attempts {
                    return Some(Self {
                        state: Failed,
                        attempts,
                    });
                }
                Some(Self {
                    state: InProgress,
                    attempts: attempts + 1,
                })
            }
            (Event::Built, InProgress) => Some(Self {
                state: Successful,
                attempts,
            }),
            (Event::Failed, Pending | InProgress) => Some(Self {
                state: Failed,
                attempts,
            }),
            _ => None,
        }
    }
}
