//! Events: invocations that are stored before they are accepted, and tried until they succeed or are given up.
//!
//! ```text
//!  submit ──> stored ──> due ──> attempt ──┬─ good ────────────────────────> removed
//!               ^                          ├─ function error, tries left ──> later (1 min, then 2 min)
//!               │                          ├─ throttled, host failed ──────> later (1 s doubling to 5 min)
//!               └── restart: taken up      └─ none left, or too old ───────> given up
//! ```
//!
//! - An attempt is written down before the runtime gets the event. If the service is killed after that, it counts: an
//!   event is never run more often than its configuration says.
//! - The version is resolved for each attempt: an event that was queued during an update runs the new code.
//! - All attempts have the same request id.

mod queue;
mod request;
mod schedule;
mod store;

pub use queue::{EventQueue, EventQueueConfig, EventSource, ResolveError, SubmitError};
pub use request::{EventRequest, EventTarget};
pub use schedule::Delays;
