//! The networks of microVMs: closed, except for what their egress opens.
//!
//! Each microVM has a *slot*: a network namespace of its own, in which its VMM runs, so that every clone can keep the
//! same address (module [`addresses`](GUEST) draws it). The rules of a slot are in its namespace and disappear with
//! it. The rules of the host are one table that is the same for all. Nothing has to be cleaned up after a crash: a
//! slot disappears with the last process or descriptor that holds it.
//!
//! - An [`Egress`] says what a guest may connect to. The kernel enforces it with nftables. IPv6 is closed.
//! - A resolver on the host answers names. It recognises the guest by the slot's address.
//! - Slots are created ahead of time ([`Network`]). A launch takes one.
//!
//! Needs root, nftables and TAP devices. Without them there is no network, and [`NetworkError`] says what to do.

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
// The one ioctl that no crate wraps.
#[allow(unsafe_code)]
mod tap;

pub use addresses::{GATEWAY, GUEST, GUEST_MAC, PREFIX};
pub use egress::{CLOSED, Domain, Egress, EgressError, Names, Protocol, Rule};
pub use error::{NetworkError, SetupStep};
pub use network::{Network, NetworkOptions, leave_host};
pub use nft::PROGRAM;
pub use rules::TRACKED_CONNECTIONS_MAX;
pub use slot::Slot;
