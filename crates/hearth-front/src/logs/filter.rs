//! `FilterLogEvents`: matching events over the streams of a group, in the order of time.

use hearth_logs::{Event, EventFilter, Pattern, StreamSelection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::{MAX_EVENTS, read_position, write_position};
use super::names::{group_name, limit};
use super::{Outcome, Request, invalid, refused};
use crate::fault::Fault;

/// Streams that one request may name (CloudWatch Logs model).
const MAX_STREAMS: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterRequest {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

pub(super) fn filter(request: &Request) -> Outcome {
    let input: FilterRequest = request.read()?;
    let group = group_name(input.log_group_name, input.log_group_identifier)?;
    let limit = limit(input.limit, MAX_EVENTS)?;
    let after = input.next_token.as_deref().map(read_position).transpose()?;
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())
        .map_err(|error| invalid(format!("Invalid filter pattern: {error}")))?;
    let filter = EventFilter {
        streams: selection(input.log_stream_names, input.log_stream_name_prefix)?,
        start_ms: input.start_time,
        // Here the end belongs to the range, unlike in GetLogEvents.
        end_ms: input.end_time.map(|end_ms| end_ms.saturating_add(1)),
        pattern,
    };
    let found = request
        .store
        .filter(&request.owner, &group, &filter, after, limit);
    let (events, next) = found.map_err(refused)?;
    let mut answer = json!({
        "events": events.iter().map(event_json).collect::<Vec<_>>(),
        "searchedLogStreams": [],
    });
    if let Some(next) = next {
        answer["nextToken"] = json!(write_position(next));
    }
    Ok(answer)
}

fn selection(names: Option<Vec<String>>, prefix: Option<String>) -> Result<StreamSelection, Fault> {
    match (names, prefix) {
        (Some(_), Some(_)) => Err(invalid(
            "logStreamNames and logStreamNamePrefix cannot be used together.",
        )),
        (Some(names), None) if names.len() > MAX_STREAMS => {
            Err(invalid("logStreamNames has more than 100 names."))
        }
        (Some(names), None) => Ok(StreamSelection::Names(names)),
        (None, Some(prefix)) => Ok(StreamSelection::Prefix(prefix)),
        (None, None) => Ok(StreamSelection::All),
    }
}

fn event_json(event: &Event) -> Value {
    json!({
        "eventId": format!("{:056}", event.id),
        "ingestionTime": event.ingestion_ms,
        "logStreamName": event.stream,
        "message": event.message,
        "timestamp": event.time_ms,
    })
}
