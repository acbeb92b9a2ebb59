//! The lives of resources as pure functions of plain data: what is, what happened, what is then.
//!
//! Nothing here waits, reads a clock or touches the store; the owners do that. A machine returns no list
//! of effects either. What must be under way, and which timer must be set, *follows from the state*
//! ([`microvm::Phase::operation`], [`microvm::deadline`], [`image::operation`]), so that a control plane which
//! was killed knows after a restart what to take up again by looking at its records alone.

pub mod build;
pub mod connector;
pub mod image;
pub mod microvm;
pub mod version;
