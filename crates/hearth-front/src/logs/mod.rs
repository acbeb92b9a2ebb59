//! CloudWatch Logs over JSON 1.1: the operations that the AWS CLI and SDKs use to read and write logs.

mod authorize;
mod events;
mod filter;
mod groups;
mod names;
mod streams;

use std::sync::Arc;

use hearth_logs::{LogError, LogStore, Owner};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;
use crate::front::Call;
use crate::wire::json::{rpc, rpc_fault};
use crate::wire::{Label, Reply};

const TARGET: &str = "Logs_20140328.";

/// The logs service.
pub(crate) struct Logs {
    pub(crate) store: Arc<LogStore>,
}

/// One request of an owner, to be answered on a thread that may wait for the disk.
struct Request {
    store: Arc<LogStore>,
    owner: Owner,
    input: Value,
    now_ms: i64,
}

type Outcome = Result<Value, Fault>;

/// An operation by name.
type Operation = (&'static str, fn(&Request) -> Outcome);

const OPERATIONS: &[Operation] = &[
    ("CreateLogGroup", groups::create),
    ("DeleteLogGroup", groups::delete),
    ("DescribeLogGroups", groups::describe),
    ("PutRetentionPolicy", groups::put_retention),
    ("DeleteRetentionPolicy", groups::delete_retention),
    ("CreateLogStream", streams::create),
    ("DeleteLogStream", streams::delete),
    ("DescribeLogStreams", streams::describe),
    ("PutLogEvents", events::put),
    ("GetLogEvents", events::get),
    ("FilterLogEvents", filter::filter),
];

impl Logs {
    pub(crate) async fn answer(&self, call: Call) -> Reply {
        let target = call
            .head
            .headers
            .get("x-amz-target")
            .and_then(|target| target.to_str().ok());
        let name = target
            .and_then(|target| target.strip_prefix(TARGET))
            .unwrap_or_default();
        let Some((operation, perform)) = OPERATIONS.iter().find(|(known, _)| *known == name) else {
            let fault = Fault::new(400, "UnknownOperationException", "Unknown operation");
            return rpc_fault(&fault);
        };
        let mut reply = match self.perform(call, operation, *perform).await {
            Ok(body) => rpc(&body),
            Err(fault) => rpc_fault(&fault),
        };
        Label::of(&mut reply).operation = Some(operation);
        reply
    }

    async fn perform(
        &self,
        call: Call,
        operation: &str,
        perform: fn(&Request) -> Outcome,
    ) -> Outcome {
        let input = serde_json::from_slice(&call.body).map_err(|_| Fault::unparseable())?;
        authorize::check(&call, operation, &input)?;
        let scope = call.caller.scope;
        let owner = Owner {
            account: scope.account.to_string(),
            region: scope.region.to_string(),
        };
        let now_ms = Timestamp::now().as_millisecond();
        let request = Request {
            store: Arc::clone(&self.store),
            owner,
            input,
            now_ms,
        };
        tokio::task::spawn_blocking(move || perform(&request))
            .await
            .unwrap_or_else(|error| Err(Fault::internal(&error)))
    }
}

impl Request {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        T::deserialize(&self.input).map_err(|_| Fault::unparseable())
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterException", message)
}

/// Refusals of the store as CloudWatch Logs words them.
fn refused(error: LogError) -> Fault {
    let (code, text) = match error {
        LogError::NoGroup => (
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
        LogError::NoStream => (
            "ResourceNotFoundException",
            "The specified log stream does not exist.",
        ),
        LogError::GroupExists => (
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        ),
        LogError::StreamExists => (
            "ResourceAlreadyExistsException",
            "The specified log stream already exists",
        ),
        LogError::TooMany => ("LimitExceededException", "Resource limit exceeded."),
        LogError::BadRetention => (
            "InvalidParameterException",
            "The retention is not one of the allowed values.",
        ),
        LogError::NotChronological => (
            "InvalidParameterException",
            "Log events in a single PutLogEvents request must be in chronological order.",
        ),
        LogError::BatchTooLarge => (
            "InvalidParameterException",
            "The batch of log events in a single PutLogEvents request is too large or spans more than 24 hours.",
        ),
        error @ (LogError::UnknownVersion(_) | LogError::Database(_)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "log store failed");
            return Fault::new(
                500,
                "ServiceUnavailableException",
                "The service cannot complete the request.",
            );
        }
    };
    Fault::new(400, code, text)
}
