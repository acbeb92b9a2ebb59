//! A call of the application in a running instance.

use std::time::Duration;

/// One HTTP request (POST) to the application of a running instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestCall {
    /// The application's port.
    pub port: u16,
    /// The path, from `/` on.
    pub path: String,
    /// A body of JSON. May hold secrets: it must not be logged.
    pub body: Option<String>,
    /// How long the application has to answer.
    pub timeout: Duration,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// HTTP 200.
    Done,
    /// Another status.
    Status(u16),
    /// Nothing listened.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The connection broke, or the answer was not HTTP.
    Broken,
}
