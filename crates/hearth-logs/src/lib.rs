//! The log store: groups, streams and events of every account, limited in size and age.
//!
//! Guests write as much as they like, so each group and each account has a byte limit. Above it the oldest events are
//! removed, so no application can fill the host's disk with output. An account is charged the bytes that SQLite takes
//! (`disk_bytes.rs`). An account also has a rate (`rate.rs`), as all write through one writer. Events are in one SQLite database of their own ([`hearth_sqlite`]), because readers query them by
//! time over many streams at once. A power failure may lose the events of the last second
//! ([`hearth_sqlite::Durability::Normal`]).
//!
//! The crate knows neither HTTP nor the names of CloudWatch's operations.

#![forbid(unsafe_code)]

mod disk_bytes;
mod event;
mod follow;
mod group;
mod limits;
mod oldest;
mod pattern;
mod rate;
mod read;
mod schema;
mod store;
mod stream;
mod sweep;

pub use event::{
    Accepted, LogEvent, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_MESSAGE_BYTES, NewEvent,
};
pub use follow::Arrived;
pub use group::{Group, RETENTION_DAYS};
pub use limits::{AccountLogLimits, LogLimits};
pub use pattern::{Pattern, PatternError};
pub use read::{Direction, EventFilter, Position, StreamSelection};
pub use store::{LogError, LogOwner, LogStore};
pub use stream::{Stream, StreamOrder};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
