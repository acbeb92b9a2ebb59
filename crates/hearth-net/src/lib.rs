//! The networks of microVMs: closed, except for what is opened by name.
//!
//! Each microVM lives in a *slot*, a network namespace of its own in which its VMM runs, so that every clone can keep the same
//! address ([`addresses`](GUEST) draws it). The rules of a slot are in the slot and go with it; those of the host are one table that is
//! the same for all. Nothing has to be cleaned up after a crash: a slot ends with the last process or descriptor that holds it.
//!
//! - What a guest may reach is an [`Egress`], which the kernel enforces with nftables. IPv6 is closed.
//! - Names are answered by a resolver on the host, which knows whose question it is by the slot's address.
//! - Slots are made ahead of time ([`Network`]); a launch takes one.
//!
//! Needs root, nftables and TAP devices. Without them there is no network, and [`NetworkError`] says what helps.

#![deny(unsafe_code)]

mod addresses;
mod answered_set;
mod dns_name;
mod egress;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod namespace;
mod network;
mod nft;
mod resolver;
mod rules;
mod slot;
#[cfg(test)]
mod tests;
// The one request that no crate wraps.
#[allow(unsafe_code)]
mod tap;

pub use addresses::{GATEWAY, GUEST, GUEST_MAC, PREFIX};
pub use egress::{CLOSED, Domain, Egress, EgressError, Names, Protocol, Rule};
pub use error::{NetworkError, Step};
pub use network::{Network, NetworkOptions, leave_host};
pub use nft::PROGRAM;
pub use rules::TRACKED_CONNECTIONS_MAX;
pub use slot::Slot;
