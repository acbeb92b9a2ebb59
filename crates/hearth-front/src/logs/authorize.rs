//! Which resource an operation on logs is about, and whether its caller may.

use serde_json::Value;

use super::names::group_name;
use crate::fault::Fault;
use crate::front::Call;
use crate::guest::Guest;
use crate::policy::Facts;

/// What guests may ask: reading and writing events, and making the place for them.
const FROM_GUESTS: &[&str] = &[
    "CreateLogGroup",
    "CreateLogStream",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "FilterLogEvents",
    "GetLogEvents",
    "PutLogEvents",
];

/// Operations on a stream; all others are about a group.
const ON_STREAMS: &[&str] = &[
    "CreateLogStream",
    "DeleteLogStream",
    "GetLogEvents",
    "PutLogEvents",
];

pub(super) fn check(call: &Call, operation: &str, input: &Value) -> Result<(), Fault> {
    if call.origin.guest().is_some() && !FROM_GUESTS.contains(&operation) {
        return Err(Fault::access_denied(Guest::CLOSED));
    }
    let text = |member: &str| input.get(member).and_then(Value::as_str).map(str::to_owned);
    // What names no group is refused by the operation itself, or is about all groups.
    let group = group_name(text("logGroupName"), text("logGroupIdentifier")).unwrap_or_default();
    let stream = text("logStreamName").filter(|_| ON_STREAMS.contains(&operation));
    let scope = &call.caller.scope;
    let arn = format!(
        "arn:aws:logs:{}:{}:log-group:{group}",
        scope.region, scope.account
    );
    let resources = match stream {
        Some(stream) => vec![format!("{arn}:log-stream:{stream}")],
        None => vec![format!("{arn}:log-stream:"), arn],
    };
    let action = format!("logs:{operation}");
    let may = call
        .caller
        .principal
        .may(&action, &resources, &Facts::new());
    may.map_err(|denied| Fault::access_denied(denied.to_string()))
}
