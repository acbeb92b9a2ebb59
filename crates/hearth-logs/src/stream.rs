//! Log streams.

use rusqlite::{Connection, Row, params};

use crate::group::{insert_group, sql_limit};
use crate::limits::LogLimits;
use crate::oldest::make_room;
use crate::store::{LogError, LogOwner, LogStore, group_id, is_duplicate, stream_id};

/// A log stream: a sequence of events from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The name of the stream, unique in its group.
    pub name: String,
    /// When the stream was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// The time of its earliest event, in milliseconds since 1970.
    pub first_event_ms: Option<i64>,
    /// The time of its latest event, in milliseconds since 1970.
    pub last_event_ms: Option<i64>,
    /// When an event was last written, in milliseconds since 1970.
    pub last_ingestion_ms: Option<i64>,
}

/// The order of a list of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOrder {
    /// By name, from the first.
    Name,
    /// By name, from the last.
    NameDescending,
    /// By the time of the latest event, from the earliest.
    LastEvent,
    /// By the time of the latest event, from the latest.
    LastEventDescending,
}

impl Stream {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            created_ms: row.get(1)?,
            first_event_ms: row.get(2)?,
            last_event_ms: row.get(3)?,
            last_ingestion_ms: row.get(4)?,
        })
    }
}

impl LogStore {
    /// Creates a stream.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::StreamExists`], [`LogError::TooMany`], [`LogError::AccountFull`] or a database
    /// failure.
    pub fn create_stream(
        &self,
        owner: &LogOwner,
        group: &str,
        name: &str,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let (owner, group, name) = (owner.clone(), group.to_owned(), name.to_owned());
        let limits = self.limits.clone();
        self.write(move |db| {
            let group_id = group_id(db, &owner, &group)?;
            insert_stream(db, &owner, group_id, &name, now_ms, &limits)
        })
    }

    /// Creates the group and the stream if they do not exist: for output that the service itself writes.
    ///
    /// # Errors
    ///
    /// [`LogError::TooMany`], [`LogError::AccountFull`] or a database failure.
    pub fn ensure_stream(
        &self,
        owner: &LogOwner,
        group: &str,
        name: &str,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.write(self.ensuring(owner, group, name, now_ms))
    }

    /// Creates group and stream as [`LogStore::ensure_stream`] does, without blocking a thread.
    ///
    /// # Errors
    ///
    /// As [`LogStore::ensure_stream`].
    pub async fn ensure_stream_async(
        &self,
        owner: &LogOwner,
        group: &str,
        name: &str,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let job = self.ensuring(owner, group, name, now_ms);
        self.write_async(job).await
    }

    fn ensuring(
        &self,
        owner: &LogOwner,
        group: &str,
        name: &str,
        now_ms: i64,
    ) -> impl FnMut(&Connection) -> Result<(), LogError> + Send + use<> {
        let (owner, group, name) = (owner.clone(), group.to_owned(), name.to_owned());
        let limits = self.limits.clone();
        move |db| {
            match insert_group(db, &owner, &group, now_ms, &limits) {
                Ok(()) | Err(LogError::GroupExists) => {}
                Err(error) => return Err(error),
            }
            let group_id = group_id(db, &owner, &group)?;
            match insert_stream(db, &owner, group_id, &name, now_ms, &limits) {
                Ok(()) | Err(LogError::StreamExists) => Ok(()),
                Err(error) => Err(error),
            }
        }
    }

    /// Removes a stream with its events. The stream is gone for all callers when this returns. If it was large, some
    /// events still take room, and count for the group, until [`LogStore::sweep`] has removed them.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::NoStream`] or a database failure.
    pub fn delete_stream(&self, owner: &LogOwner, group: &str, name: &str) -> Result<(), LogError> {
        let (owner, group, name) = (owner.clone(), group.to_owned(), name.to_owned());
        self.write(move |db| {
            let group_id = group_id(db, &owner, &group)?;
            let id = stream_id(db, group_id, &name)?;
            // No stream's name has a colon.
            db.execute(
                "UPDATE log_stream SET is_removed = 1, name = 'removed:' || id WHERE id = ?",
                [id],
            )?;
            Ok(())
        })?;
        self.begin_removal()
    }

    /// Lists the streams of a group whose names begin with `prefix`, in `order`, without the first `skip`.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`] or a database failure.
    pub fn streams(
        &self,
        owner: &LogOwner,
        group: &str,
        prefix: &str,
        order: StreamOrder,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Stream>, LogError> {
        self.read(|connection| {
        let group_id = group_id(connection, owner, group)?;
        let order = match order {
            StreamOrder::Name => "name",
            StreamOrder::NameDescending => "name DESC",
            StreamOrder::LastEvent => "coalesce(last_event_ms, created_ms), id",
            StreamOrder::LastEventDescending => "coalesce(last_event_ms, created_ms) DESC, id DESC",
        };
        let mut statement = connection.prepare_cached(&format!(
            "SELECT name, created_ms, first_event_ms, last_event_ms, last_ingestion_ms
             FROM log_stream WHERE group_id = ?1 AND NOT is_removed AND substr(name, 1, length(?2)) = ?2
             ORDER BY {order} LIMIT ?3 OFFSET ?4"
        ))?;
        let rows = statement.query_map(
            params![group_id, prefix, sql_limit(limit), sql_limit(skip)],
            Stream::from_row,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Creates a stream.
fn insert_stream(
    db: &Connection,
    owner: &LogOwner,
    group_id: i64,
    name: &str,
    now_ms: i64,
    limits: &LogLimits,
) -> Result<(), LogError> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO log_stream (group_id, name, created_ms)
             SELECT ?1, ?2, ?3
             WHERE (SELECT count(*) FROM log_stream WHERE group_id = ?1 AND NOT is_removed) < ?4",
        )?
        .execute(params![group_id, name, now_ms, limits.max_streams]);
    match inserted {
        Ok(0) => Err(LogError::TooMany),
        Ok(_) => make_room(db, &owner.account, limits.bytes_of(&owner.account)),
        Err(error) if is_duplicate(&error) => Err(LogError::StreamExists),
        Err(error) => Err(error.into()),
    }
}
