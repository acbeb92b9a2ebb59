//! Errors of databases.

use std::any::Any;
use std::io;

/// Why a database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be created, or the writing thread could not be started.
    #[error("cannot use the database file")]
    File(#[source] io::Error),
    /// SQLite returned an error.
    #[error("SQLite refused")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a newer release. That release, or one after it, can open it.
    #[error("the database has schema {found}, this release knows up to {known}")]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The newest schema that this release knows.
        known: i64,
    },
    /// The commit that this job was a part of failed. Nothing was written.
    #[error("the commit failed: {0}")]
    Commit(String),
    /// A job or a query panicked. Nothing of it was written, and the database stays usable.
    #[error("a job on the database panicked: {0}")]
    Panicked(String),
    /// The writing thread has ended.
    #[error("the database is closed")]
    Closed,
}

impl Error {
    /// The error for a panic in a caller's code. The panic hook has reported the panic itself.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(text.unwrap_or("without a text").to_owned())
    }
}
