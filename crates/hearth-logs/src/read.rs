//! Reading events by time, forwards and backwards, from one stream or over a group.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use crate::event::Event;
use crate::pattern::Pattern;
use crate::store::{LogError, LogStore, Owner, group_id, stream_id};

/// Streams that one filter may name (CloudWatch Logs quota).
const MAX_NAMED_STREAMS: usize = 100;

/// Events looked at for one page of a filter, so that a pattern that matches nothing in a large
/// group gives an empty page with a position instead of holding the store for seconds.
const MAX_SCANNED: usize = 50_000;

/// Text in one page (CloudWatch Logs quota); also what a page may take of our memory.
pub(crate) const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// A place between events: behind the event of this time and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The time of the event.
    pub time_ms: i64,
    /// Its number.
    pub id: i64,
}

impl Position {
    /// The place of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            time_ms: event.time_ms,
            id: event.id,
        }
    }
}

/// Which way a page goes from its position. Pages are always given in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards later events.
    Forward,
    /// Towards earlier events.
    Backward,
}

/// Which streams of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamSelection {
    /// All of them.
    All,
    /// Those whose names begin so.
    Prefix(String),
    /// Those named; at most a hundred.
    Names(Vec<String>),
}

/// Which events.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Of these streams.
    pub streams: StreamSelection,
    /// From this time on.
    pub start_ms: Option<i64>,
    /// Before this time.
    pub end_ms: Option<i64>,
    /// Whose text matches.
    pub pattern: Pattern,
}

impl LogStore {
    /// A page of one stream, at most `limit` events from `position` on (from the stream's end or
    /// beginning without one).
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::NoStream`] or a database failure.
    pub fn events(
        &self,
        owner: &Owner,
        group: &str,
        filter: &EventFilter,
        direction: Direction,
        position: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Event>, LogError> {
        let (mut events, _) = self.select(owner, group, filter, direction, position, limit)?;
        if direction == Direction::Backward {
            events.reverse();
        }
        Ok(events)
    }

    /// A page of matching events over a group, and where the next page begins when there may be one.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`] or a database failure.
    pub fn filter(
        &self,
        owner: &Owner,
        group: &str,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Event>, Option<Position>), LogError> {
        self.select(owner, group, filter, Direction::Forward, after, limit)
    }

    fn select(
        &self,
        owner: &Owner,
        group: &str,
        filter: &EventFilter,
        direction: Direction,
        position: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Event>, Option<Position>), LogError> {
        let connection = self.connection();
        let group_id = group_id(&connection, owner, group)?;
        if let StreamSelection::Names(names) = &filter.streams {
            names
                .iter()
                .try_for_each(|name| stream_id(&connection, group_id, name).map(drop))?;
        }
        let query = Query::new(group_id, filter, direction, position);
        let mut statement = connection.prepare_cached(&query.sql)?;
        let mut rows = statement.query(params_from_iter(query.values))?;
        let (mut events, mut scanned, mut bytes) = (Vec::new(), 0, 0);
        while let Some(row) = rows.next()? {
            let event = event_from_row(row)?;
            scanned += 1;
            let position = Position::of(&event);
            if filter.pattern.matches(&event.message) {
                bytes += event.message.len();
                events.push(event);
            }
            if events.len() >= limit || bytes >= MAX_PAGE_BYTES || scanned >= MAX_SCANNED {
                return Ok((events, Some(position)));
            }
        }
        Ok((events, None))
    }
}

/// A SELECT under construction: its conditions and their values stay together.
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn new(
        group_id: i64,
        filter: &EventFilter,
        direction: Direction,
        position: Option<Position>,
    ) -> Self {
        let mut query = Self {
            sql: "SELECT e.id, s.name, e.time_ms, e.ingestion_ms, e.message
                  FROM log_event e JOIN log_stream s ON s.id = e.stream_id WHERE e.group_id = ?"
                .to_owned(),
            values: vec![group_id.into()],
        };
        query.streams(group_id, &filter.streams);
        if let Some(start_ms) = filter.start_ms {
            query.and("e.time_ms >= ?", [start_ms.into()]);
        }
        if let Some(end_ms) = filter.end_ms {
            query.and("e.time_ms < ?", [end_ms.into()]);
        }
        let (comparison, order) = match direction {
            Direction::Forward => (">", "ASC"),
            Direction::Backward => ("<", "DESC"),
        };
        if let Some(Position { time_ms, id }) = position {
            query.and(
                &format!("(e.time_ms, e.id) {comparison} (?, ?)"),
                [time_ms, id].map(Value::from),
            );
        }
        query
            .sql
            .push_str(&format!(" ORDER BY e.time_ms {order}, e.id {order}"));
        query
    }

    fn streams(&mut self, group_id: i64, selection: &StreamSelection) {
        match selection {
            StreamSelection::All => {}
            StreamSelection::Prefix(prefix) => {
                let prefix = Value::from(prefix.clone());
                self.and("substr(s.name, 1, length(?)) = ?", [prefix.clone(), prefix]);
            }
            StreamSelection::Names(names) => {
                let names = names.iter().take(MAX_NAMED_STREAMS);
                let marks = vec!["?"; names.len()].join(", ");
                let condition = format!(
                    "e.stream_id IN (SELECT id FROM log_stream WHERE group_id = ? AND name IN ({marks}))"
                );
                let mut values = vec![Value::from(group_id)];
                values.extend(names.cloned().map(Value::from));
                self.and(&condition, values);
            }
        }
    }

    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

pub(crate) fn event_from_row(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get(0)?,
        stream: row.get(1)?,
        time_ms: row.get(2)?,
        ingestion_ms: row.get(3)?,
        message: row.get(4)?,
    })
}
