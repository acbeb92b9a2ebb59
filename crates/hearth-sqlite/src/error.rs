//! Why a database could not be opened, read or written.

use std::any::Any;
use std::io;

/// Why a database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be created, or the thread that writes could not be started.
    #[error("cannot use the database file")]
    File(#[source] io::Error),
    /// SQLite refused.
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
    /// The commit of which this job was a part failed. Nothing was written.
    #[error("the commit failed: {0}")]
    Commit(String),
    /// A job or a query panicked. Nothing of it was written, and the database goes on.
    #[error("a job on the database panicked: {0}")]
    Panicked(String),
    /// The thread that writes has ended.
    #[error("the database is closed")]
    Closed,
}

impl Error {
    /// What is answered for code of a caller that panicked. The panic itself was told by the panic hook.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(text.unwrap_or("without a text").to_owned())
    }
}
