//! A SQLite file in WAL mode, as the stores of Hearth use it: one writer, many readers, one scheme of migrations.
//!
//! ```text
//! write, blocking_write ──► queue ──► writer thread: BEGIN, a savepoint for each job, COMMIT ──► answers
//! read, blocking_read   ──► a connection of the pool, in a read transaction of its own
//! ```
//!
//! - A job is a closure over a connection. If it fails, its savepoint is rolled back and nothing of it is kept.
//! - Jobs that wait at the same time share one commit. Each is answered only after that commit.
//! - A job may run more than once: if SQLite rolls back the whole transaction because of one job, the others run
//!   again. So a job must change nothing but the database, and must not wait for another job: there is only one
//!   writer.
//! - A job that panics fails alone: it is rolled back, its caller gets an error, and the writer continues.
//! - A read sees one commit from its beginning to its end. It waits neither for the writer nor for other reads.
//! - A schema is a list of steps. `PRAGMA user_version` is the number of steps that a file has been through.
//!
//! The crate knows no table.

#![forbid(unsafe_code)]

mod connection;
mod database;
mod dump;
mod error;
mod job;
mod readers;
mod schema;
mod wal;
mod writer;

pub use database::{Database, Durability, Options};
pub use dump::dump;
pub use error::Error;
pub use writer::CommitMoment;
