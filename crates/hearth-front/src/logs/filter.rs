//! `FilterLogEvents`: matching events of several streams of a group, ordered by time.

use hearth_logs::{EventFilter, LogEvent, Pattern, StreamSelection};

use super::events::{MAX_EVENTS, read_position, write_position};
use super::names::{group_name, limit};
use super::{Request, invalid, refused};
use crate::fault::Fault;
use crate::model::logs::{FilterLogEventsInput, FilterLogEventsOutput, FilteredLogEvent};

pub(super) fn filter(
    request: &Request,
    input: FilterLogEventsInput,
) -> Result<FilterLogEventsOutput, Fault> {
    let group = group_name(input.log_group_name, input.log_group_identifier)?;
    let limit = limit(input.limit, MAX_EVENTS);
    let after = input.next_token.as_deref().map(read_position).transpose()?;
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())
        .map_err(|error| invalid(format!("Invalid filter pattern: {error}")))?;
    let filter = EventFilter {
        streams: selection(input.log_stream_names, input.log_stream_name_prefix)?,
        start_ms: input.start_time,
        // The end is inclusive here, unlike in GetLogEvents.
        end_ms: input.end_time.map(|end_ms| end_ms.saturating_add(1)),
        pattern,
    };
    let found = request
        .store
        .filter(&request.owner, &group, &filter, after, limit);
    let (events, next) = found.map_err(refused)?;
    Ok(FilterLogEventsOutput {
        events: Some(events.iter().map(answer).collect()),
        next_token: next.map(write_position),
        searched_log_streams: Some(Vec::new()),
    })
}

fn selection(names: Option<Vec<String>>, prefix: Option<String>) -> Result<StreamSelection, Fault> {
    match (names, prefix) {
        (Some(_), Some(_)) => Err(invalid(
            "logStreamNames and logStreamNamePrefix cannot be used together.",
        )),
        (Some(names), None) => Ok(StreamSelection::Names(names)),
        (None, Some(prefix)) => Ok(StreamSelection::Prefix(prefix)),
        (None, None) => Ok(StreamSelection::All),
    }
}

fn answer(event: &LogEvent) -> FilteredLogEvent {
    FilteredLogEvent {
        event_id: Some(format!("{:056}", event.id)),
        ingestion_time: Some(event.ingestion_ms),
        log_stream_name: Some(event.stream.clone()),
        message: Some(event.message.clone()),
        timestamp: Some(event.time_ms),
    }
}
