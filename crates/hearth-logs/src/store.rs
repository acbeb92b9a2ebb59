//! The store: one connection that writes, behind a lock, and connections of their own for readers.
//!
//! Each call that writes is one short transaction. Readers see the last commit and wait for nobody: the database is in
//! WAL mode.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::Limits;
use crate::schema;

/// Whose logs. Nothing is visible across owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
}

/// Why an operation on logs did not happen.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The owner has no such group.
    #[error("no such log group")]
    NoGroup,
    /// The group has no such stream.
    #[error("no such log stream")]
    NoStream,
    /// The owner has a group of this name.
    #[error("the log group exists")]
    GroupExists,
    /// The group has a stream of this name.
    #[error("the log stream exists")]
    StreamExists,
    /// The owner has as many groups, or the group as many streams, as allowed.
    #[error("too many log groups or streams")]
    TooMany,
    /// A retention that is not in the list of allowed ones.
    #[error("not an allowed retention")]
    BadRetention,
    /// The events of a batch are not in the order of their times.
    #[error("events are not in chronological order")]
    NotChronological,
    /// The events of a batch are too many, too large, or span more than a day.
    #[error("the batch is too large")]
    BatchTooLarge,
    /// The database was written by a later release.
    #[error("the log database has version {0}, which this release does not know")]
    UnknownVersion(i64),
    /// The database failed.
    #[error("the log database failed")]
    Database(#[from] rusqlite::Error),
}

/// Connections kept for readers; more are opened under load and closed after.
const IDLE_READERS: usize = 8;

/// The log store.
#[derive(Debug)]
pub struct LogStore {
    writer: Mutex<Connection>,
    path: PathBuf,
    idle_readers: Mutex<Vec<Connection>>,
    pub(crate) limits: Limits,
}

impl LogStore {
    /// Opens the database at `path`, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or comes from a later release.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, LogError> {
        let mut connection = Connection::open(path)?;
        schema::prepare(&mut connection)?;
        Ok(Self {
            writer: Mutex::new(connection),
            path: path.to_owned(),
            idle_readers: Mutex::default(),
            limits,
        })
    }

    /// The connection that writes. A panic while it was held left no open transaction behind: those roll back
    /// when dropped.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a query on a connection that reads. It waits neither for the writer nor for other readers.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let idle = self.idle_readers().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => Connection::open_with_flags(
                &self.path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
        };
        let result = query(&connection);
        let mut idle = self.idle_readers();
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        result
    }

    fn idle_readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle_readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of a group of this owner.
pub(crate) fn group_id(
    connection: &Connection,
    owner: &Owner,
    name: &str,
) -> Result<i64, LogError> {
    connection
        .prepare_cached("SELECT id FROM log_group WHERE account = ? AND region = ? AND name = ?")?
        .query_row(params![owner.account, owner.region, name], |row| row.get(0))
        .optional()?
        .ok_or(LogError::NoGroup)
}

/// The id of a stream of this group.
pub(crate) fn stream_id(
    connection: &Connection,
    group_id: i64,
    name: &str,
) -> Result<i64, LogError> {
    connection
        .prepare_cached(
            "SELECT id FROM log_stream WHERE group_id = ? AND name = ? AND NOT is_removed",
        )?
        .query_row(params![group_id, name], |row| row.get(0))
        .optional()?
        .ok_or(LogError::NoStream)
}

/// Whether an insertion failed because the row is there already.
pub(crate) fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}
