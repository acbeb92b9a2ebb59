//! CloudWatch Logs over JSON 1.1: the operations that the AWS CLI and SDKs use to read and write logs.

mod authorize;
mod events;
mod filter;
mod groups;
mod names;
mod streams;

use std::sync::Arc;

use crate::blocking_calls::BlockingCalls;
use crate::call::Call;
use crate::fault::Fault;
use crate::model::logs::*;
use crate::model::values::Written;
use crate::model::{Input, Mismatch, check};
use crate::wire::json::{rpc, rpc_fault};
use crate::wire::{Label, Reply};
use hearth_control::id::AccountId;
use hearth_logs::{LogError, LogOwner, LogStore};
use http::request::Parts;
use jiff::Timestamp;
use serde_json::json;

const TARGET: &str = "Logs_20140328.";

/// The logs service.
pub(crate) struct Logs {
    pub(crate) store: Arc<LogStore>,
    pub(crate) places: Arc<BlockingCalls>,
}

/// One request of an account, answered on a thread that may block on the disk.
struct Request {
    store: Arc<LogStore>,
    owner: LogOwner,
    now_ms: i64,
}

impl Logs {
    pub(crate) async fn answer(&self, call: Call) -> Reply {
        let Some(operation) = asked(&call.head) else {
            let fault = Fault::new(400, "UnknownOperationException", "Unknown operation");
            return rpc_fault(&fault);
        };
        let mut reply = match self.perform(call, operation).await {
            Ok(body) => rpc(&body.unwrap_or_else(|| json!({}))),
            Err(fault) => rpc_fault(&fault),
        };
        Label::of(&mut reply).operation = Some(operation.model().name);
        reply
    }

    /// Refuses events of an account that has written too many, before they are read.
    pub(crate) fn has_room(&self, head: &Parts, account: AccountId) -> Result<(), Fault> {
        if asked(head) != Some(Operation::PutLogEvents) {
            return Ok(());
        }
        let wait = self.store.wait_of(&account.to_string());
        match wait.is_zero() {
            true => Ok(()),
            false => Err(refused(LogError::TooFast(wait))),
        }
    }

    async fn perform(&self, call: Call, operation: Operation) -> Result<Written, Fault> {
        let scope = &call.caller.scope;
        let owner = LogOwner {
            account: scope.account.to_string(),
            region: scope.region.to_string(),
        };
        let account = owner.account.clone();
        let request = Request {
            store: Arc::clone(&self.store),
            owner,
            now_ms: Timestamp::now().as_millisecond(),
        };
        // Reading ten thousand events takes milliseconds, in which a thread of the runtime would serve nobody else.
        let perform = move || {
            let input: Input =
                serde_json::from_slice(&call.body).map_err(|_| Fault::unparseable())?;
            authorize::check(&call, operation, &input)?;
            check(operation.model().input, &input).map_err(mismatch)?;
            operation.perform(&request, input)
        };
        self.places
            .run(&account, perform)
            .await
            .unwrap_or_else(|error| Err(Fault::internal(&error)))
    }
}

/// The operation that a request asks for.
fn asked(head: &Parts) -> Option<Operation> {
    let target = head.headers.get("x-amz-target")?.to_str().ok()?;
    let name = target.strip_prefix(TARGET)?;
    let mut operations = Operation::ALL.iter().copied();
    operations.find(|operation| operation.model().name == name)
}

impl CloudWatchLogs for Request {
    fn create_log_group(&self, input: CreateLogGroupInput) -> Result<(), Fault> {
        groups::create(self, &input)
    }

    fn create_log_stream(&self, input: CreateLogStreamInput) -> Result<(), Fault> {
        streams::create(self, &input)
    }

    fn delete_log_group(&self, input: DeleteLogGroupInput) -> Result<(), Fault> {
        groups::delete(self, &input)
    }

    fn delete_log_stream(&self, input: DeleteLogStreamInput) -> Result<(), Fault> {
        streams::delete(self, &input)
    }

    fn delete_retention_policy(&self, input: DeleteRetentionPolicyInput) -> Result<(), Fault> {
        groups::delete_retention(self, &input)
    }

    fn describe_log_groups(
        &self,
        input: DescribeLogGroupsInput,
    ) -> Result<DescribeLogGroupsOutput, Fault> {
        groups::describe(self, input)
    }

    fn describe_log_streams(
        &self,
        input: DescribeLogStreamsInput,
    ) -> Result<DescribeLogStreamsOutput, Fault> {
        streams::describe(self, input)
    }

    fn filter_log_events(
        &self,
        input: FilterLogEventsInput,
    ) -> Result<FilterLogEventsOutput, Fault> {
        filter::filter(self, input)
    }

    fn get_log_events(&self, input: GetLogEventsInput) -> Result<GetLogEventsOutput, Fault> {
        events::get(self, input)
    }

    fn put_log_events(&self, input: PutLogEventsInput) -> Result<PutLogEventsOutput, Fault> {
        events::put(self, input)
    }

    fn put_retention_policy(&self, input: PutRetentionPolicyInput) -> Result<(), Fault> {
        groups::put_retention(self, &input)
    }
}

/// The answer to an input that violates the model.
fn mismatch(mismatch: Mismatch) -> Fault {
    match mismatch {
        Mismatch::Type | Mismatch::Union => Fault::unparseable(),
        Mismatch::Constraints(message) => invalid(message),
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterException", message)
}

/// Refusals of the store in the words of CloudWatch Logs.
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
        LogError::AccountFull => (
            "LimitExceededException",
            "The logs of this account take all the bytes that [quotas] in the configuration of the service lets them take. Delete log groups or log streams, or raise the quota.",
        ),
        LogError::TooFast(retry_after) => {
            return Fault::rate_exceeded(400, "ThrottlingException", retry_after);
        }
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
