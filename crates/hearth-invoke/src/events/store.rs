//! Stored events.

use std::path::Path;

use bytes::Bytes;
use hearth_sqlite::{Database, Options};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::request::{EventRequest, EventTarget};

/// Events of one account that wait. Beyond, further ones are throttled: they take disk space until they are given up.
pub(super) const MAX_EVENTS: u32 = 100_000;

/// Bytes of payloads of one account that wait.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// Released steps are never changed.
const SCHEMA: &[&str] = &["
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    function_name TEXT NOT NULL,
    qualifier TEXT,
    tenant TEXT,
    invoked_arn TEXT NOT NULL,
    request_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    postponements INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX event_due ON event (due_ms);
CREATE TABLE waiting (
    account TEXT PRIMARY KEY,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER event_added AFTER INSERT ON event BEGIN
    INSERT INTO waiting VALUES (new.account, 1, length(new.payload))
    ON CONFLICT DO UPDATE SET events = events + 1, bytes = bytes + length(new.payload);
END;
CREATE TRIGGER event_removed AFTER DELETE ON event BEGIN
    UPDATE waiting SET events = events - 1, bytes = bytes - length(old.payload) WHERE account = old.account;
END;
"];

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredEvent {
    pub(super) id: i64,
    pub(super) request: EventRequest,
    pub(super) received_ms: i64,
    pub(super) attempts: u32,
    pub(super) postponements: u32,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The account has too many events.
    #[error("too many events wait")]
    Full,
    #[error("the database of events failed")]
    Database(#[from] hearth_sqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// The store.
#[derive(Debug)]
pub(super) struct EventStore {
    database: Database,
}

impl EventStore {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::open(path, &Options::new(SCHEMA))?;
        Ok(Self { database })
    }

    /// Stores an event. It is durable when this returns.
    pub(super) async fn add(&self, request: EventRequest, now_ms: i64) -> Result<(), StoreError> {
        self.database
            .write(move |db| {
                check_room(db, &request)?;
                insert(db, &request, now_ms)?;
                Ok(())
            })
            .await
    }

    /// The events that are due, oldest first, without those that are under way.
    pub(super) async fn due(
        &self,
        now_ms: i64,
        under_way: Vec<i64>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.database
            .read(move |db| {
                let mut statement = db.prepare_cached(
                    "SELECT id, account, region, function_name, qualifier, tenant, invoked_arn, request_id, trace_id,
                            payload, received_ms, attempts, postponements
                     FROM event WHERE due_ms <= ?1 ORDER BY due_ms, id LIMIT ?2",
                )?;
                let wanted = limit.saturating_add(under_way.len());
                let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
                let rows = statement.query_map(params![now_ms, wanted], stored)?;
                let mut events = Vec::new();
                for event in rows {
                    let event = event?;
                    if !under_way.contains(&event.id) && events.len() < limit {
                        events.push(event);
                    }
                }
                Ok(events)
            })
            .await
    }

    /// When the next event is due.
    pub(super) async fn next_due_ms(&self) -> Result<Option<i64>, StoreError> {
        self.database
            .read(|db| Ok(db.query_row("SELECT min(due_ms) FROM event", [], |row| row.get(0))?))
            .await
    }

    /// Writes down that an attempt begins.
    pub(super) async fn begin_attempt(&self, id: i64) -> Result<(), StoreError> {
        self.database
            .write(move |db| {
                let sql = "UPDATE event SET attempts = attempts + 1 WHERE id = ?";
                db.prepare_cached(sql)?.execute([id])?;
                Ok(())
            })
            .await
    }

    /// Writes down when the next attempt is, and how many there were.
    pub(super) async fn postpone(
        &self,
        id: i64,
        due_ms: i64,
        attempts: u32,
        postponements: u32,
    ) -> Result<(), StoreError> {
        self.database
            .write(move |db| {
                db.prepare_cached(
                    "UPDATE event SET due_ms = ?2, attempts = ?3, postponements = ?4 WHERE id = ?1",
                )?
                .execute(params![id, due_ms, attempts, postponements])?;
                Ok(())
            })
            .await
    }

    pub(super) async fn remove(&self, id: i64) -> Result<(), StoreError> {
        self.database
            .write(move |db| {
                db.prepare_cached("DELETE FROM event WHERE id = ?")?
                    .execute([id])?;
                Ok(())
            })
            .await
    }
}

fn check_room(db: &Connection, request: &EventRequest) -> Result<(), StoreError> {
    let waiting: Option<(u32, i64)> = db
        .prepare_cached("SELECT events, bytes FROM waiting WHERE account = ?")?
        .query_row([&request.target.account], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (events, bytes) = waiting.unwrap_or_default();
    let bytes = u64::try_from(bytes).unwrap_or(0) + request.payload.len() as u64;
    if events >= MAX_EVENTS || bytes > MAX_BYTES {
        return Err(StoreError::Full);
    }
    Ok(())
}

fn insert(db: &Connection, request: &EventRequest, now_ms: i64) -> rusqlite::Result<usize> {
    let target = &request.target;
    db.prepare_cached(
        "INSERT INTO event (account, region, function_name, qualifier, tenant, invoked_arn, request_id, trace_id,
                            payload, received_ms, due_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
    )?
    .execute(params![
        target.account,
        target.region,
        target.function_name,
        target.qualifier,
        target.tenant,
        request.invoked_arn,
        request.request_id,
        request.trace_id,
        &request.payload[..],
        now_ms,
    ])
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        id: row.get(0)?,
        request: EventRequest {
            target: EventTarget {
                account: row.get(1)?,
                region: row.get(2)?,
                function_name: row.get(3)?,
                qualifier: row.get(4)?,
                tenant: row.get(5)?,
            },
            invoked_arn: row.get(6)?,
            request_id: row.get(7)?,
            trace_id: row.get(8)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(9)?),
        },
        received_ms: row.get(10)?,
        attempts: row.get(11)?,
        postponements: row.get(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> EventRequest {
        EventRequest {
            target: EventTarget {
                account: "000000000000".to_owned(),
                region: "us-east-1".to_owned(),
                function_name: "f".to_owned(),
                qualifier: None,
                tenant: Some("t".to_owned()),
            },
            invoked_arn: "arn".to_owned(),
            request_id: id.to_owned(),
            trace_id: "root".to_owned(),
            payload: Bytes::from_static(b"{}"),
        }
    }

    #[tokio::test]
    async fn events_outlive_the_store_and_keep_their_attempts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        let store = EventStore::open(&path).unwrap();
        store.add(request("a"), 10).await.unwrap();
        store.add(request("b"), 20).await.unwrap();
        let due = store.due(15, Vec::new(), 10).await.unwrap();
        assert_eq!(due.len(), 1);
        store.begin_attempt(due[0].id).await.unwrap();
        drop(store);
        let store = EventStore::open(&path).unwrap();
        assert_eq!(store.next_due_ms().await.unwrap(), Some(10));
        let due = store.due(30, Vec::new(), 10).await.unwrap();
        assert_eq!(due[0].request, request("a"));
        assert_eq!((due[0].attempts, due[1].attempts), (1, 0));
        let others = store.due(30, vec![due[0].id], 1).await.unwrap();
        assert_eq!(others[0].id, due[1].id);
        store.postpone(due[0].id, 40, 1, 3).await.unwrap();
        store.remove(due[1].id).await.unwrap();
        assert_eq!(store.next_due_ms().await.unwrap(), Some(40));
    }

    #[tokio::test]
    async fn an_account_has_room_for_so_much() {
        let directory = tempfile::tempdir().unwrap();
        let store = EventStore::open(&directory.path().join("events.db")).unwrap();
        let fill = "INSERT INTO waiting VALUES ('000000000000', 100000, 5)";
        let filled = store.database.write(move |db| {
            db.execute(fill, [])?;
            Ok::<_, StoreError>(())
        });
        filled.await.unwrap();
        let refused = store.add(request("a"), 1).await;
        assert!(matches!(refused, Err(StoreError::Full)));
    }
}
