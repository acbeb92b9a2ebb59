//! What is stored of an event.

use bytes::Bytes;

/// An event to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRequest {
    /// What to run.
    pub target: EventTarget,
    /// The ARN as it was invoked.
    pub invoked_arn: String,
    /// The request id of all attempts.
    pub request_id: String,
    /// The value of `X-Amzn-Trace-Id`.
    pub trace_id: String,
    /// The event: JSON.
    pub payload: Bytes,
}

/// What an event is for. The version behind it is looked up for each attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTarget {
    /// The account: 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// The function's name.
    pub function_name: String,
    /// A version, an alias, or nothing.
    pub qualifier: Option<String>,
    /// The tenant, for functions that isolate tenants.
    pub tenant: Option<String>,
}
