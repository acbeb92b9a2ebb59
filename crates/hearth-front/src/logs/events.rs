//! Events of one stream: writing batches, reading pages in both directions.

use hearth_logs::{
    Accepted, Direction, Event, EventFilter, NewEvent, Pattern, Position, StreamSelection,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::names::{bad_token, group_name, limit, missing, stream_name};
use super::{Outcome, Request, refused};
use crate::fault::Fault;

/// Events in one answer (CloudWatch Logs model).
pub(super) const MAX_EVENTS: usize = 10_000;

/// Sequence tokens are no longer checked by the service, but old clients read one.
const SEQUENCE_TOKEN: &str = "49600000000000000000000000000000000000000000000000000000";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutRequest {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
    log_events: Option<Vec<EventRequest>>,
}

#[derive(Deserialize)]
struct EventRequest {
    timestamp: i64,
    message: String,
}

pub(super) fn put(request: &Request) -> Outcome {
    let input: PutRequest = request.read()?;
    let group = group_name(input.log_group_name, None)?;
    let stream = stream_name(input.log_stream_name)?;
    let events = input.log_events.ok_or_else(|| missing("logEvents"))?;
    let events: Vec<_> = events
        .into_iter()
        .map(|event| NewEvent {
            time_ms: event.timestamp,
            message: event.message,
        })
        .collect();
    let accepted = request
        .store
        .append(&request.owner, &group, &stream, &events, request.now_ms);
    let mut answer = json!({"nextSequenceToken": SEQUENCE_TOKEN});
    if let Some(rejected) = rejected(accepted.map_err(refused)?) {
        answer["rejectedLogEventsInfo"] = rejected;
    }
    Ok(answer)
}

fn rejected(accepted: Accepted) -> Option<Value> {
    let mut members = serde_json::Map::new();
    if accepted.too_old_end > 0 {
        members.insert(
            "tooOldLogEventEndIndex".to_owned(),
            json!(accepted.too_old_end),
        );
    }
    if accepted.too_new_start < accepted.total {
        members.insert(
            "tooNewLogEventStartIndex".to_owned(),
            json!(accepted.too_new_start),
        );
    }
    (!members.is_empty()).then_some(Value::Object(members))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetRequest {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<i64>,
    start_from_head: Option<bool>,
}

pub(super) fn get(request: &Request) -> Outcome {
    let input: GetRequest = request.read()?;
    let group = group_name(input.log_group_name, input.log_group_identifier)?;
    let stream = stream_name(input.log_stream_name)?;
    let limit = limit(input.limit, MAX_EVENTS)?;
    let filter = EventFilter {
        streams: StreamSelection::Names(vec![stream]),
        start_ms: input.start_time,
        end_ms: input.end_time,
        pattern: Pattern::default(),
    };
    let token = input.next_token.as_deref().map(read_token).transpose()?;
    let (direction, position) = match token {
        Some((direction, position)) => (direction, Some(position)),
        None if input.start_from_head.unwrap_or(false) => (Direction::Forward, None),
        None => (Direction::Backward, None),
    };
    let events = request
        .store
        .events(&request.owner, &group, &filter, direction, position, limit)
        .map_err(refused)?;
    // At either end the token stays the same, by which clients know that they are there.
    let here = position.unwrap_or(Position { time_ms: 0, id: 0 });
    let first = events.first().map_or(here, Position::of);
    let last = events.last().map_or(here, Position::of);
    Ok(json!({
        "events": events.iter().map(event_json).collect::<Vec<_>>(),
        "nextBackwardToken": write_token(Direction::Backward, first),
        "nextForwardToken": write_token(Direction::Forward, last),
    }))
}

fn event_json(event: &Event) -> Value {
    json!({
        "ingestionTime": event.ingestion_ms,
        "message": event.message,
        "timestamp": event.time_ms,
    })
}

fn write_token(direction: Direction, position: Position) -> String {
    let side = match direction {
        Direction::Forward => 'f',
        Direction::Backward => 'b',
    };
    format!("{side}/{}", write_position(position))
}

fn read_token(token: &str) -> Result<(Direction, Position), Fault> {
    let (side, position) = token.split_once('/').ok_or_else(bad_token)?;
    let direction = match side {
        "f" => Direction::Forward,
        "b" => Direction::Backward,
        _ => return Err(bad_token()),
    };
    Ok((direction, read_position(position)?))
}

/// A position as text. It means something in the caller's own group only.
pub(super) fn write_position(position: Position) -> String {
    format!("{:020}{:020}", position.time_ms, position.id)
}

pub(super) fn read_position(text: &str) -> Result<Position, Fault> {
    let (time_ms, id) = text.split_at_checked(20).ok_or_else(bad_token)?;
    let number = |text: &str| text.parse().map_err(|_| bad_token());
    Ok(Position {
        time_ms: number(time_ms)?,
        id: number(id)?,
    })
}
