//! Log streams.

use hearth_logs::{Stream, StreamOrder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::names::{bad_token, group_name, limit, stream_name};
use super::{Outcome, Request, invalid, refused};

/// Streams in one answer (CloudWatch Logs model).
const MAX_STREAMS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamRequest {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
}

pub(super) fn create(request: &Request) -> Outcome {
    let input: StreamRequest = request.read()?;
    let group = group_name(input.log_group_name, None)?;
    let name = stream_name(input.log_stream_name)?;
    let made = request
        .store
        .create_stream(&request.owner, &group, &name, request.now_ms);
    made.map_err(refused)?;
    Ok(json!({}))
}

pub(super) fn delete(request: &Request) -> Outcome {
    let input: StreamRequest = request.read()?;
    let group = group_name(input.log_group_name, None)?;
    let name = stream_name(input.log_stream_name)?;
    request
        .store
        .delete_stream(&request.owner, &group, &name)
        .map_err(refused)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeRequest {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: Option<bool>,
    limit: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn describe(request: &Request) -> Outcome {
    let input: DescribeRequest = request.read()?;
    let group = group_name(input.log_group_name, input.log_group_identifier)?;
    let limit = limit(input.limit, MAX_STREAMS)?;
    let by_time = input.order_by.as_deref() == Some("LastEventTime");
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
    // A position in the list: streams order by times that change, so no key of one would last.
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
    let mut answer = json!({
        "logStreams":
            shown.iter().map(|stream| stream_json(request, &group, stream)).collect::<Vec<_>>(),
    });
    if found.len() > limit {
        answer["nextToken"] = json!((skip + limit).to_string());
    }
    Ok(answer)
}

fn stream_json(request: &Request, group: &str, stream: &Stream) -> Value {
    let owner = &request.owner;
    let mut members = json!({
        "arn": format!(
            "arn:aws:logs:{}:{}:log-group:{group}:log-stream:{}",
            owner.region, owner.account, stream.name
        ),
        "creationTime": stream.created_ms,
        "logStreamName": stream.name,
        "storedBytes": 0,
    });
    let times = [
        ("firstEventTimestamp", stream.first_event_ms),
        ("lastEventTimestamp", stream.last_event_ms),
        ("lastIngestionTime", stream.last_ingestion_ms),
    ];
    for (name, time) in times
        .into_iter()
        .filter_map(|(name, time)| Some((name, time?)))
    {
        members[name] = json!(time);
    }
    members
}
