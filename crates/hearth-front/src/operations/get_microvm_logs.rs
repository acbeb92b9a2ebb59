//! `GET .../logs?limit=`: the newest lines that the application wrote, oldest first, as text.

use std::sync::Arc;

use hearth_control::throttle::Rate;
use hearth_logs::{
    Direction, Event, EventFilter, LogError, LogStore, Owner, Pattern, StreamSelection,
};

use super::query::parameters;
use super::{Context, conflict};
use crate::fault::Fault;
use crate::guests::OutputPlace;
use crate::wire::{Reply, reply};

/// Lines where the request names no limit.
const DEFAULT_LINES: usize = 1000;

/// Most lines of one answer, as of CloudWatch Logs.
const MAX_LINES: usize = 10_000;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherRead)?;
    let [limit, follow] = parameters(&context.query, ["limit", "follow"])?;
    let limit = limit.map_or(Ok(DEFAULT_LINES), |limit| read_limit(&limit))?;
    check_follow(follow.as_deref())?;
    let microvm = context.microvm().await?;
    let place = context.operations.guests.output(&microvm);
    let place = place.ok_or_else(|| {
        conflict(format!(
            "The output of MicroVM {} is not kept: its logging is disabled.",
            microvm.id
        ))
    })?;
    let owner = Owner {
        account: microvm.scope.account.to_string(),
        region: microvm.scope.region.to_string(),
    };
    let store = Arc::clone(&context.operations.logs);
    let read = tokio::task::spawn_blocking(move || newest(&store, &owner, place, limit));
    let events = match read.await {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => return Err(Fault::internal(&error)),
        Err(error) => return Err(Fault::internal(&error)),
    };
    Ok(reply(200, "text/plain; charset=utf-8", text(&events)))
}

fn read_limit(limit: &str) -> Result<usize, Fault> {
    let lines = limit.parse().ok();
    lines
        .filter(|lines| (1..=MAX_LINES).contains(lines))
        .ok_or_else(|| {
            Fault::validation(format!(
                "Parameter 'limit' must be between 1 and {MAX_LINES}"
            ))
        })
}

fn check_follow(follow: Option<&str>) -> Result<(), Fault> {
    match follow {
        None | Some("false") => Ok(()),
        Some("true") => Err(Fault::new(
            501,
            "NotImplementedException",
            "Following is not implemented by this Hearth installation. Ask again, or use FilterLogEvents.",
        )),
        Some(_) => Err(Fault::validation(
            "Parameter 'follow' must be true or false",
        )),
    }
}

fn newest(
    store: &LogStore,
    owner: &Owner,
    place: OutputPlace,
    limit: usize,
) -> Result<Vec<Event>, LogError> {
    let filter = EventFilter {
        streams: StreamSelection::Names(vec![place.stream]),
        start_ms: None,
        end_ms: None,
        pattern: Pattern::default(),
    };
    match store.events(
        owner,
        &place.group,
        &filter,
        Direction::Backward,
        None,
        limit,
    ) {
        // Made by the first line.
        Err(LogError::NoGroup | LogError::NoStream) => Ok(Vec::new()),
        read => read,
    }
}

fn text(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.message);
        text.push('\n');
    }
    text
}
