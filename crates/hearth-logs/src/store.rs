//! The store: a database whose writes are short jobs, and whose reads never wait.

use std::path::Path;
use std::time::Duration;

use hearth_sqlite::{Database, Durability, Options};
use rusqlite::{Connection, OptionalExtension, params};

use crate::LogLimits;
use crate::rate::Rates;
use crate::schema;

/// The owner of groups. An owner sees only its own groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOwner {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
}

/// Why an operation on logs failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The owner has no such group.
    #[error("no such log group")]
    NoGroup,
    /// The group has no such stream.
    #[error("no such log stream")]
    NoStream,
    /// The owner has a group of this name already.
    #[error("the log group exists")]
    GroupExists,
    /// The group has a stream of this name already.
    #[error("the log stream exists")]
    StreamExists,
    /// The owner has reached its limit of groups, or the group its limit of streams.
    #[error("too many log groups or streams")]
    TooMany,
    /// The account has reached its byte limit, and has no events that could be removed.
    #[error("the logs of the account take all the bytes that they may")]
    AccountFull,
    /// The account has written more events than its rate, and may write again after this time.
    #[error("too many log events in a short time; the account may write again in {} ms", .0.as_millis())]
    TooFast(Duration),
    /// The retention is not one of [`crate::RETENTION_DAYS`].
    #[error("not an allowed retention")]
    BadRetention,
    /// The events of a batch are not ordered by time.
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
    Database(#[source] hearth_sqlite::Error),
}

impl From<hearth_sqlite::Error> for LogError {
    fn from(error: hearth_sqlite::Error) -> Self {
        match error {
            hearth_sqlite::Error::Newer { found, .. } => Self::UnknownVersion(found),
            other => Self::Database(other),
        }
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// The log store.
#[derive(Debug)]
pub struct LogStore {
    database: Database,
    pub(crate) limits: LogLimits,
    pub(crate) rates: Rates,
}

/// How much the writing thread gives way: a batch may have ten thousand events, and the requests of others go first.
const WRITER_NICENESS: u8 = 5;

impl LogStore {
    /// Opens the database at `path`. Creates it with mode 0600 if it does not exist.
    ///
    /// # Errors
    ///
    /// The database cannot be opened, or was written by a later release.
    pub fn open(path: &Path, limits: LogLimits) -> Result<Self, LogError> {
        let options = Options {
            durability: Durability::Normal,
            niceness: WRITER_NICENESS,
            ..Options::new(schema::STEPS)
        };
        Ok(Self {
            database: Database::open(path, &options)?,
            limits,
            rates: Rates::default(),
        })
    }

    /// Runs a job that writes, atomically. The job may run more than once.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        job: impl FnMut(&Connection) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        self.database.blocking_write(job)
    }

    /// Runs a job as [`LogStore::write`] does, without blocking a thread.
    pub(crate) async fn write_async<T: Send + 'static>(
        &self,
        job: impl FnMut(&Connection) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        self.database.write(job).await
    }

    /// Runs a query. It waits neither for a writer nor for other readers, and sees one commit.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.database.blocking_read(query)
    }
}

/// The id of a group of this owner.
pub(crate) fn group_id(
    connection: &Connection,
    owner: &LogOwner,
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

/// Whether an insertion failed because the row exists already.
pub(crate) fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}
