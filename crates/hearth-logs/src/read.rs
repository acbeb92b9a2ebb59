//! Reads events by time, forwards and backwards, from one stream or over a group.
//!
//! If few streams are selected, each is read by its own index, and the events are merged. Otherwise the events of the
//! whole group are read, and every row counts towards the limit of a page.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Rows, params, params_from_iter};

use crate::event::LogEvent;
use crate::pattern::Pattern;
use crate::store::{LogError, LogOwner, LogStore, group_id, stream_id};

/// Most streams that one filter may name (CloudWatch Logs quota), and that are read side by side.
const MAX_NAMED_STREAMS: usize = 100;

/// Most events looked at for one page of a filter. A pattern that matches nothing in a large group gives an empty
/// page with a position, instead of blocking a thread for seconds.
const MAX_SCANNED: usize = 50_000;

/// Most text looked at for one page of a filter, in bytes: some tenths of a second, where each event is parsed as JSON.
const MAX_SCANNED_BYTES: usize = 32 << 20;

/// Most text of one page in bytes (CloudWatch Logs quota). Also limits the memory for a page.
pub(crate) const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// A position between events: after the event with this time and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The time of the event.
    pub time_ms: i64,
    /// The number of the event.
    pub id: i64,
}

impl Position {
    /// The position after an event.
    #[must_use]
    pub fn of(event: &LogEvent) -> Self {
        Self {
            time_ms: event.time_ms,
            id: event.id,
        }
    }
}

/// The direction of a page from its position. Pages are always ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards later events.
    Forward,
    /// Towards earlier events.
    Backward,
}

/// A selection of the streams of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamSelection {
    /// All streams.
    All,
    /// Streams whose names begin with this text.
    Prefix(String),
    /// The streams with these names, at most a hundred.
    Names(Vec<String>),
}

/// A selection of events.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// The streams.
    pub streams: StreamSelection,
    /// Only events at or after this time.
    pub start_ms: Option<i64>,
    /// Only events before this time.
    pub end_ms: Option<i64>,
    /// Only events whose text matches.
    pub pattern: Pattern,
}

impl LogStore {
    /// Returns a page of one stream: at most `limit` events from `position` on. Without a position, from the
    /// beginning or end of the stream.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::NoStream`] or a database failure.
    pub fn events(
        &self,
        owner: &LogOwner,
        group: &str,
        filter: &EventFilter,
        direction: Direction,
        position: Option<Position>,
        limit: usize,
    ) -> Result<Vec<LogEvent>, LogError> {
        let (mut events, _) = self.select(owner, group, filter, direction, position, limit)?;
        if direction == Direction::Backward {
            events.reverse();
        }
        Ok(events)
    }

    /// Returns a page of matching events of a group, and the position of the next page if there may be one.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`] or a database failure.
    pub fn filter(
        &self,
        owner: &LogOwner,
        group: &str,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<LogEvent>, Option<Position>), LogError> {
        self.select(owner, group, filter, Direction::Forward, after, limit)
    }

    fn select(
        &self,
        owner: &LogOwner,
        group: &str,
        filter: &EventFilter,
        direction: Direction,
        position: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<LogEvent>, Option<Position>), LogError> {
        self.read(|connection| {
            let group_id = group_id(connection, owner, group)?;
            let range = Range {
                start_ms: filter.start_ms,
                end_ms: filter.end_ms,
                direction,
                position,
            };
            let mut page = Page {
                pattern: &filter.pattern,
                limit,
                events: Vec::new(),
                bytes: 0,
                scanned: 0,
                scanned_bytes: 0,
            };
            let next = match Chosen::of(connection, group_id, &filter.streams)? {
                Chosen::Few(streams) => merged(connection, &streams, &range, &mut page)?,
                Chosen::Many(prefix) => scanned(connection, group_id, &prefix, &range, &mut page)?,
            };
            Ok((page.events, next))
        })
    }
}

/// The selected streams.
enum Chosen {
    /// Few streams, each of which is read by itself.
    Few(Vec<i64>),
    /// The streams with this prefix, read from among all events of the group.
    Many(String),
}

impl Chosen {
    fn of(
        connection: &Connection,
        group_id: i64,
        selection: &StreamSelection,
    ) -> Result<Self, LogError> {
        match selection {
            StreamSelection::All => Ok(Self::Many(String::new())),
            StreamSelection::Names(names) => {
                let mut streams = Vec::new();
                for name in names.iter().take(MAX_NAMED_STREAMS) {
                    streams.push(stream_id(connection, group_id, name)?);
                }
                // A stream that is named twice is read once.
                streams.sort_unstable();
                streams.dedup();
                Ok(Self::Few(streams))
            }
            StreamSelection::Prefix(prefix) => {
                let mut query = connection.prepare_cached(
                    "SELECT id, name FROM log_stream
                     WHERE group_id = ? AND name >= ? AND NOT is_removed ORDER BY name LIMIT ?",
                )?;
                let limit = i64::try_from(MAX_NAMED_STREAMS + 1).unwrap_or(i64::MAX);
                let mut rows = query.query(params![group_id, prefix, limit])?;
                let mut streams = Vec::new();
                while let Some(row) = rows.next()? {
                    let name: String = row.get(1)?;
                    if !name.starts_with(prefix.as_str()) {
                        break;
                    }
                    streams.push(row.get(0)?);
                }
                Ok(match streams.len() {
                    0..=MAX_NAMED_STREAMS => Self::Few(streams),
                    _ => Self::Many(prefix.clone()),
                })
            }
        }
    }
}

/// A range of events, and their order.
struct Range {
    start_ms: Option<i64>,
    end_ms: Option<i64>,
    direction: Direction,
    position: Option<Position>,
}

/// A page that is being filled.
struct Page<'a> {
    pattern: &'a Pattern,
    limit: usize,
    events: Vec<LogEvent>,
    bytes: usize,
    scanned: usize,
    scanned_bytes: usize,
}

impl Page<'_> {
    /// Adds an event to the page if it is selected. Returns its position if the page is complete.
    fn look(&mut self, event: LogEvent, is_selected: bool) -> Option<Position> {
        self.scanned += 1;
        self.scanned_bytes += event.message.len();
        let position = Position::of(&event);
        if is_selected && self.pattern.matches(&event.message) {
            self.bytes += event.message.len();
            self.events.push(event);
        }
        let is_complete = self.events.len() >= self.limit
            || self.bytes >= MAX_PAGE_BYTES
            || self.scanned >= MAX_SCANNED
            || self.scanned_bytes >= MAX_SCANNED_BYTES;
        is_complete.then_some(position)
    }
}

/// Reads streams side by side, each in its own order, and always takes the first event of all.
fn merged(
    connection: &Connection,
    streams: &[i64],
    range: &Range,
    page: &mut Page<'_>,
) -> Result<Option<Position>, LogError> {
    let mut statements = Vec::new();
    for stream_id in streams {
        let (sql, values) = range.query(Source::Stream, *stream_id);
        statements.push((connection.prepare_cached(&sql)?, values));
    }
    let mut rows = Vec::new();
    for (statement, values) in &mut statements {
        rows.push(statement.query(params_from_iter(values.iter()))?);
    }
    let mut heads = Vec::new();
    for rows in &mut rows {
        heads.push(next_event(rows)?);
    }
    loop {
        let places = heads.iter().enumerate();
        let places = places.filter_map(|(at, head)| Some((Position::of(head.as_ref()?), at)));
        let first = match range.direction {
            Direction::Forward => places.min(),
            Direction::Backward => places.max(),
        };
        let Some((_, at)) = first else {
            return Ok(None);
        };
        let following = next_event(&mut rows[at])?;
        if let Some(event) = std::mem::replace(&mut heads[at], following)
            && let Some(position) = page.look(event, true)
        {
            return Ok(Some(position));
        }
    }
}

/// Reads all events of a group and skips those of other streams. Every row counts, so that a selection with few
/// events does not block a thread for long.
fn scanned(
    connection: &Connection,
    group_id: i64,
    prefix: &str,
    range: &Range,
    page: &mut Page<'_>,
) -> Result<Option<Position>, LogError> {
    let (sql, values) = range.query(Source::Group, group_id);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let is_removed: bool = row.get(5)?;
        let event = event_from_row(row)?;
        let is_selected = !is_removed && event.stream.starts_with(prefix);
        if let Some(position) = page.look(event, is_selected) {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

/// What events are read from. Both have an index in the order of the page.
#[derive(Clone, Copy)]
enum Source {
    Group,
    Stream,
}

impl Range {
    /// A SELECT of the events of a group or stream, with its values.
    fn query(&self, source: Source, id: i64) -> (String, Vec<Value>) {
        let column = match source {
            Source::Group => "e.group_id",
            Source::Stream => "e.stream_id",
        };
        let mut sql = format!(
            "SELECT e.id, s.name, e.time_ms, e.ingestion_ms, e.message, s.is_removed
             FROM log_event e JOIN log_stream s ON s.id = e.stream_id WHERE {column} = ?"
        );
        let mut values = vec![id.into()];
        let mut and = |condition: &str, of: &[i64]| {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.extend(of.iter().map(|value| Value::from(*value)));
        };
        let (comparison, order) = match self.direction {
            Direction::Forward => (">", "ASC"),
            Direction::Backward => ("<", "DESC"),
        };
        // The page begins where the index is entered. With two bounds at that end SQLite would use one and scan all
        // rows up to the other, which no limit counts. So only the narrower bound is used.
        let begins_at_position =
            self.position
                .is_some_and(|Position { time_ms, .. }| match self.direction {
                    Direction::Forward => self.start_ms.is_none_or(|start_ms| start_ms <= time_ms),
                    Direction::Backward => self.end_ms.is_none_or(|end_ms| time_ms < end_ms),
                });
        let is_entered = |end: Direction| begins_at_position && self.direction == end;
        if let Some(start_ms) = self.start_ms
            && !is_entered(Direction::Forward)
        {
            and("e.time_ms >= ?", &[start_ms]);
        }
        if let Some(end_ms) = self.end_ms
            && !is_entered(Direction::Backward)
        {
            and("e.time_ms < ?", &[end_ms]);
        }
        if begins_at_position && let Some(Position { time_ms, id }) = self.position {
            and(
                &format!("(e.time_ms, e.id) {comparison} (?, ?)"),
                &[time_ms, id],
            );
        }
        sql.push_str(&format!(" ORDER BY e.time_ms {order}, e.id {order}"));
        (sql, values)
    }
}

fn next_event(rows: &mut Rows<'_>) -> Result<Option<LogEvent>, LogError> {
    Ok(rows.next()?.map(event_from_row).transpose()?)
}

pub(crate) fn event_from_row(row: &Row<'_>) -> rusqlite::Result<LogEvent> {
    Ok(LogEvent {
        id: row.get(0)?,
        stream: row.get(1)?,
        time_ms: row.get(2)?,
        ingestion_ms: row.get(3)?,
        message: row.get(4)?,
    })
}

#[cfg(test)]
mod tests;
