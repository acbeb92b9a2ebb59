//! `GET .../logs?limit=&follow=`: returns the newest lines of the application as text, oldest first. With `follow`,
//! then new lines.

use std::sync::Arc;

use hearth_control::throttle::Rate;
use hearth_logs::{Direction, EventFilter, LogError, LogEvent, LogOwner, Pattern, StreamSelection};

use super::follow::{Follower, LogPosition};
use super::lines::{nothing_yet, text};
use super::query::parameters;
use super::streamed::streamed;
use super::{Context, Operations, conflict};
use crate::fault::Fault;
use crate::guests::LogStreamName;
use crate::wire::{Reply, reply};

const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Lines if the request sets no limit.
const DEFAULT_LINES: usize = 1000;

/// Most lines of one answer, as in CloudWatch Logs.
const MAX_LINES: usize = 10_000;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherRead)?;
    let [limit, follow] = parameters(&context.query, ["limit", "follow"])?;
    let limit = limit.map_or(Ok(DEFAULT_LINES), |limit| read_limit(&limit))?;
    let is_followed = read_follow(follow.as_deref())?;
    let microvm = context.microvm().await?;
    let place = context.operations.guests.output(&microvm);
    let place = place.ok_or_else(|| {
        conflict(format!(
            "The output of MicroVM {} is not kept: its logging is disabled.",
            microvm.id
        ))
    })?;
    let owner = LogOwner {
        account: microvm.scope.account.to_string(),
        region: microvm.scope.region.to_string(),
    };
    let mut follower = Follower {
        control: context.operations.control.clone(),
        microvm: microvm.id,
        reading: LogPosition {
            store: Arc::clone(&context.operations.logs),
            owner,
            place,
            seen: 0,
        },
    };
    let account = microvm.scope.account;
    let Operations {
        control, followers, ..
    } = context.operations;
    let max = control.quotas(account).followers;
    let place = is_followed.then(|| followers.admit(account, max));
    let place = place.transpose()?;
    let (events, seen) = newest(&follower.reading, limit).await?;
    follower.reading.seen = seen;
    let lines = text(&events);
    Ok(match place {
        Some(place) => streamed(CONTENT_TYPE, follower.begin(lines, place)),
        None => reply(200, CONTENT_TYPE, lines),
    })
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

fn read_follow(follow: Option<&str>) -> Result<bool, Fault> {
    match follow {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Fault::validation(
            "Parameter 'follow' must be true or false",
        )),
    }
}

/// The newest lines, and the event number up to which they are complete.
async fn newest(reading: &LogPosition, limit: usize) -> Result<(Vec<LogEvent>, i64), Fault> {
    let (store, owner) = (Arc::clone(&reading.store), reading.owner.clone());
    let LogStreamName { group, stream } = reading.place.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let filter = EventFilter {
            streams: StreamSelection::Names(vec![stream]),
            start_ms: None,
            end_ms: None,
            pattern: Pattern::default(),
        };
        let seen = store.newest()?;
        let direction = Direction::Backward;
        let read = store.events(&owner, &group, &filter, direction, None, limit);
        let mut events = nothing_yet(read)?;
        // Lines that came in between are sent by the follower.
        events.retain(|event| event.id <= seen);
        Ok::<_, LogError>((events, seen))
    });
    match reading.await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(Fault::internal(&error)),
        Err(error) => Err(Fault::internal(&error)),
    }
}
