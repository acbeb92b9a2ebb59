//! One host behind the control plane's seam ([`hearth_control::host::Host`]): everything that turns "run this version" into a
//! process.
//!
//! ```text
//!   control ── submit, outcome, inventory, events ──> local.rs ── operations on instances (local/instances.rs)
//!                                                        │       └─> hearth-node: VMM processes, snapshots
//!                                                        ├── builds (build.rs) ──> hearth-image, hearth-node
//!                                                        └── what follows a running instance: its output (monitor.rs, output.rs),
//!                                                            its end, its guest's door to services
//! ```
//!
//! It decides nothing about resources and serves no protocol. What it is asked to do outlives whoever asked, and what became of it is
//! asked for: the same seam can be a network some day.

#![forbid(unsafe_code)]

mod local;

mod application;
mod artifact;
mod build;
mod egress;
mod external_s3;
mod hook;
mod monitor;
mod output;
mod retry_frozen;

pub use artifact::Artifacts;
pub use build::{Origin, Workshop};
pub use egress::{Openings, RuleSets, rule_book};
pub use external_s3::ExternalS3;
pub use hook::is_refused;
pub use local::{GuestDoors, LocalHost, OpenDoor, build_of};
pub use output::{StreamName, now_ms, place};
pub use retry_frozen::patiently;

/// An error as one sentence with everything below it.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
