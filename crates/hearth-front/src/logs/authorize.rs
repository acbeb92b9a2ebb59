//! The resource of each log operation, and whether the caller may use it.

use serde_json::Value;

use super::names::group_name;
use crate::call::Call;
use crate::fault::Fault;
use crate::guest::Guest;
use crate::model::Input;
use crate::model::logs::Operation;
use crate::policy::Facts;

/// Whether guests may call the operation: they read and write events, and create groups and streams for them.
fn is_for_guests(operation: Operation) -> bool {
    match operation {
        Operation::CreateLogGroup
        | Operation::CreateLogStream
        | Operation::DescribeLogGroups
        | Operation::DescribeLogStreams
        | Operation::FilterLogEvents
        | Operation::GetLogEvents
        | Operation::PutLogEvents => true,
        Operation::DeleteLogGroup
        | Operation::DeleteLogStream
        | Operation::DeleteRetentionPolicy
        | Operation::PutRetentionPolicy => false,
    }
}

/// Whether the resource for policies is the stream. For all other operations it is the group.
fn is_about_a_stream(operation: Operation) -> bool {
    match operation {
        Operation::CreateLogStream
        | Operation::DeleteLogStream
        | Operation::GetLogEvents
        | Operation::PutLogEvents => true,
        Operation::CreateLogGroup
        | Operation::DeleteLogGroup
        | Operation::DeleteRetentionPolicy
        | Operation::DescribeLogGroups
        | Operation::DescribeLogStreams
        | Operation::FilterLogEvents
        | Operation::PutRetentionPolicy => false,
    }
}

pub(super) fn check(call: &Call, operation: Operation, input: &Input) -> Result<(), Fault> {
    if call.origin.guest().is_some() && !is_for_guests(operation) {
        return Err(Fault::access_denied(Guest::CLOSED));
    }
    let text = |member: &str| input.get(member).and_then(Value::as_str).map(str::to_owned);
    // A text that names no group is refused by the operation itself, or the operation is about all groups.
    let group = group_name(text("logGroupName"), text("logGroupIdentifier")).unwrap_or_default();
    let stream = text("logStreamName").filter(|_| is_about_a_stream(operation));
    let scope = &call.caller.scope;
    let arn = format!(
        "arn:aws:logs:{}:{}:log-group:{group}",
        scope.region, scope.account
    );
    let resources = match stream {
        Some(stream) => vec![format!("{arn}:log-stream:{stream}")],
        None => vec![format!("{arn}:log-stream:"), arn],
    };
    let action = format!("logs:{}", operation.model().name);
    let may = call
        .caller
        .principal
        .may(&action, &resources, &Facts::new());
    may.map_err(|denied| Fault::access_denied(denied.to_string()))
}
