//! The log store: groups, streams and events of every account, bounded in size and age.
//!
//! Guests write here what they like, so each group has a byte limit: past it the oldest events go,
//! and no application can fill the host's disk by talking. Events are kept in one SQLite database of
//! their own, because readers want them by time over many streams at once; a lost last second after
//! a power failure is accepted (`synchronous = NORMAL`), a torn database is not (WAL).
//!
//! The crate knows neither HTTP nor the names of CloudWatch's operations.

#![forbid(unsafe_code)]

mod event;
mod follow;
mod group;
mod limits;
mod pattern;
mod read;
mod schema;
mod store;
mod stream;
mod sweep;

pub use event::{Accepted, Event, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, NewEvent};
pub use group::{Group, RETENTION_DAYS};
pub use limits::Limits;
pub use pattern::{Pattern, PatternError};
pub use read::{Direction, EventFilter, Position, StreamSelection};
pub use store::{LogError, LogStore, Owner};
pub use stream::{Stream, StreamOrder};

#[cfg(test)]
mod tests;
