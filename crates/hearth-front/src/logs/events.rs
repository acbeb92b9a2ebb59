//! Events of one stream: writes batches, and reads pages in both directions.

use hearth_logs::{
    Accepted, Direction, EventFilter, LogEvent, NewEvent, Pattern, Position, StreamSelection,
};

use super::names::{bad_token, group_name, limit, number};
use super::{Request, refused};
use crate::fault::Fault;
use crate::model::logs::{
    GetLogEventsInput, GetLogEventsOutput, OutputLogEvent, PutLogEventsInput, PutLogEventsOutput,
    RejectedLogEventsInfo,
};

/// Events in one answer (CloudWatch Logs model).
pub(super) const MAX_EVENTS: usize = 10_000;

/// The service no longer checks sequence tokens, but old clients read one.
const SEQUENCE_TOKEN: &str = "49600000000000000000000000000000000000000000000000000000";

pub(super) fn put(
    request: &Request,
    input: PutLogEventsInput,
) -> Result<PutLogEventsOutput, Fault> {
    let (group, stream) = (&input.log_group_name, &input.log_stream_name);
    let events: Vec<_> = input
        .log_events
        .into_iter()
        .map(|event| NewEvent {
            time_ms: event.timestamp,
            message: event.message,
        })
        .collect();
    let accepted = request
        .store
        .append(&request.owner, group, stream, &events, request.now_ms);
    Ok(PutLogEventsOutput {
        next_sequence_token: Some(SEQUENCE_TOKEN.to_owned()),
        rejected_log_events_info: rejected(&accepted.map_err(refused)?),
    })
}

fn rejected(accepted: &Accepted) -> Option<RejectedLogEventsInfo> {
    let is_too_old = accepted.too_old_end > 0;
    let is_too_new = accepted.too_new_start < accepted.total;
    (is_too_old || is_too_new).then(|| RejectedLogEventsInfo {
        too_new_log_event_start_index: is_too_new.then(|| number(accepted.too_new_start)),
        too_old_log_event_end_index: is_too_old.then(|| number(accepted.too_old_end)),
    })
}

pub(super) fn get(
    request: &Request,
    input: GetLogEventsInput,
) -> Result<GetLogEventsOutput, Fault> {
    let group = group_name(input.log_group_name, input.log_group_identifier)?;
    let limit = limit(input.limit, MAX_EVENTS);
    let filter = EventFilter {
        streams: StreamSelection::Names(vec![input.log_stream_name]),
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
    // At either end of the stream the token stays the same. That tells clients that they have reached the end.
    let here = position.unwrap_or(Position { time_ms: 0, id: 0 });
    let first = events.first().map_or(here, Position::of);
    let last = events.last().map_or(here, Position::of);
    Ok(GetLogEventsOutput {
        events: Some(events.iter().map(answer).collect()),
        next_backward_token: Some(write_token(Direction::Backward, first)),
        next_forward_token: Some(write_token(Direction::Forward, last)),
    })
}

fn answer(event: &LogEvent) -> OutputLogEvent {
    OutputLogEvent {
        ingestion_time: Some(event.ingestion_ms),
        message: Some(event.message.clone()),
        timestamp: Some(event.time_ms),
    }
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

/// A position as text. It is valid in the caller's own group only.
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
