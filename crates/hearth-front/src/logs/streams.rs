//! Operations on log streams.

use hearth_logs::{Stream, StreamOrder};

use super::names::{bad_token, group_name, limit};
use super::{Request, invalid, refused};
use crate::fault::Fault;
use crate::model::logs::{
    CreateLogStreamInput, DeleteLogStreamInput, DescribeLogStreamsInput, DescribeLogStreamsOutput,
    LogStream, OrderBy,
};

/// Streams in one answer (CloudWatch Logs model).
const MAX_STREAMS: usize = 50;

pub(super) fn create(request: &Request, input: &CreateLogStreamInput) -> Result<(), Fault> {
    let (group, name) = (&input.log_group_name, &input.log_stream_name);
    let made = request
        .store
        .create_stream(&request.owner, group, name, request.now_ms);
    made.map_err(refused)
}

pub(super) fn delete(request: &Request, input: &DeleteLogStreamInput) -> Result<(), Fault> {
    let (group, name) = (&input.log_group_name, &input.log_stream_name);
    request
        .store
        .delete_stream(&request.owner, group, name)
        .map_err(refused)
}

pub(super) fn describe(
    request: &Request,
    input: DescribeLogStreamsInput,
) -> Result<DescribeLogStreamsOutput, Fault> {
    let group = group_name(input.log_group_name, input.log_group_identifier)?;
    let limit = limit(input.limit, MAX_STREAMS);
    let by_time = input.order_by == Some(OrderBy::LastEventTime);
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(invalid(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let order = match (by_time, input.descending.unwrap_or(false)) {
        (false, false) => StreamOrder::Name,
        (false, true) => StreamOrder::NameDescending,
        (true, false) => StreamOrder::LastEvent,
        (true, true) => StreamOrder::LastEventDescending,
    };
    // The token is a position in the list: streams are ordered by times that change, so no key would stay valid.
    let skip = match input.next_token.as_deref() {
        None => 0,
        Some(token) => token.parse().map_err(|_| bad_token())?,
    };
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    let found = request
        .store
        .streams(&request.owner, &group, &prefix, order, skip, limit + 1)
        .map_err(refused)?;
    let shown = found.get(..limit).unwrap_or(&found);
    let shown = shown.iter().map(|stream| answer(request, &group, stream));
    Ok(DescribeLogStreamsOutput {
        log_streams: Some(shown.collect()),
        next_token: (found.len() > limit).then(|| (skip + limit).to_string()),
    })
}

fn answer(request: &Request, group: &str, stream: &Stream) -> LogStream {
    let owner = &request.owner;
    LogStream {
        arn: Some(format!(
            "arn:aws:logs:{}:{}:log-group:{group}:log-stream:{}",
            owner.region, owner.account, stream.name
        )),
        creation_time: Some(stream.created_ms),
        first_event_timestamp: stream.first_event_ms,
        last_event_timestamp: stream.last_event_ms,
        last_ingestion_time: stream.last_ingestion_ms,
        log_stream_name: Some(stream.name.clone()),
        stored_bytes: Some(0),
    }
}
