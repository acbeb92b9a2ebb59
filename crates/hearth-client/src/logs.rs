//! CloudWatch Logs, as far as following needs it.

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::payload::Payload;

/// Which events to read.
#[derive(Debug, Clone)]
pub struct LogQuery<'a> {
    /// The group.
    pub group: &'a str,
    /// One stream of it, or all.
    pub stream: Option<&'a str>,
    /// Not before this time, in milliseconds since 1970.
    pub start_ms: Option<i64>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEvent {
    /// Unique id of the event.
    pub event_id: String,
    /// The stream that it is in.
    pub log_stream_name: String,
    /// When it was written, in milliseconds since 1970.
    pub timestamp: i64,
    /// What was written.
    pub message: String,
}

/// Most pages that one query reads, of ten thousand events each.
const MAX_PAGES: usize = 1000;

impl Client {
    /// `FilterLogEvents`: all pages, in the order of time. A group or stream that does not exist has no events yet.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn log_events(&self, query: &LogQuery<'_>) -> Result<Vec<LogEvent>, ClientError> {
        let operation = "FilterLogEvents";
        let mut input = json!({"logGroupName": query.group});
        if let Some(stream) = query.stream {
            input["logStreamNames"] = json!([stream]);
        }
        if let Some(start_ms) = query.start_ms {
            input["startTime"] = json!(start_ms);
        }
        let mut events = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut page = match self.logs(operation, &input).await {
                Err(error) if error.is_not_found() => break,
                answered => answered?,
            };
            let found: Vec<LogEvent> = serde_json::from_value(page["events"].take())
                .map_err(|source| ClientError::Malformed { operation, source })?;
            events.extend(found);
            match page.get("nextToken").and_then(Value::as_str) {
                Some(next) => input["nextToken"] = json!(next),
                None => break,
            }
        }
        Ok(events)
    }

    async fn logs(&self, operation: &'static str, input: &Value) -> Result<Value, ClientError> {
        self.call(Call {
            operation,
            service: "logs",
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", "Logs_20140328.FilterLogEvents"),
            ],
            payload: Payload::from(Bytes::from(input.to_string())),
        })
        .await
    }
}
