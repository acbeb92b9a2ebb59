//! One host behind the control plane's seam ([`hearth_control::host::Host`]): everything that turns "run this version" into a
//! process.
//!
//! ```text
//!   control ── submit, outcome, inventory, events ──> local.rs ── operations on instances (local/instances.rs)
//!                                                        │       └─> hearth-node: VMM processes, snapshots
//!                                                        ├── builds (build.rs) ──> hearth-image, hearth-node
//!                                                        │       └─> registries with a login (registry.rs)
//!                                                        └── what follows a running instance: its output
//!                                                            (monitor.rs, output.rs), its end, its services
//! ```
//!
//! This crate decides nothing about resources and serves no protocol. An operation outlives its caller, and its
//! outcome is asked for separately. So the same seam can become a network protocol later.

#![forbid(unsafe_code)]

mod local;

mod application;
mod artifact;
mod build;
mod build_names;
mod egress;
mod environments;
mod external_s3;
mod fetch_error;
mod guest_call;
mod line_parts;
mod monitor;
mod output;
mod pressure;
mod registry;
mod retry_frozen;

pub use artifact::Artifacts;
pub use build::{Origin, VersionBuilder};
pub use build_names::build_of;
pub use egress::{ConnectorEgress, RuleSet, RuleSets, rule_book};
pub use environments::{EnvironmentOptions, HostEnvironments};
pub use external_s3::ExternalS3;
pub use guest_call::is_refused;
pub use local::{GuestServer, GuestServerTask, LocalHost};
pub use output::{OutputStore, now_ms, place};
pub use pressure::{PressureWatch, ShortMemory};
pub use registry::{RegistryLogin, RegistryLogins};
pub use retry_frozen::retry_while_frozen;
