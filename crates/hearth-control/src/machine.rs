//! State machines of resources, as pure functions of plain data: the state and an event give the next state.
//!
//! Nothing here waits, reads a clock or touches the store: the owners do that. A machine returns no list of effects
//! either. Which work must be under way and which timer must be set *follows from the state*
//! ([`crate::life::Phase::operation`], [`microvm::deadline`], [`image::operation`]). So a control plane that was killed
//! knows after a restart what to continue from its records alone.

pub mod build;
pub mod connector;
pub mod image;
pub mod microvm;
pub mod version;
