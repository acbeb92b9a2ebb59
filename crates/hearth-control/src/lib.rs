//! The control plane: resources, their state machines, the policies that drive them, and the store of their records.
//!
//! ```text
//!   front, endpoint        (HTTP, AWS's words)
//!         |  Control: one method per operation, Refusal when the domain says no
//!   owners                 one task per living microVM and per image; each steps a pure machine
//!      |        |
//!   Store     Host         journalled records; everything that runs microVMs, behind a trait (hearth-host)
//! ```
//!
//! The crate does not know HTTP, the JSON of AWS or KVM. It decides; the crates above and below speak and act.

#![forbid(unsafe_code)]

pub mod arn;
pub mod id;
pub mod page;
pub mod request;
pub mod time;

pub mod account;
pub mod connector;
pub mod guest_call;
pub mod hooks;
pub mod image;
pub mod managed_policy;
pub mod microvm;

pub mod instance;
pub mod life;
pub mod machine;
pub mod policy;
pub mod refusal;
pub mod start_times;
pub mod template;
pub mod throttle;

pub mod endpoint;
pub mod host;
pub mod metrics;
pub mod store;

mod control;
mod fair_share;

pub use control::{Control, ControlConfig};
pub use refusal::{ControlError, Refusal};
