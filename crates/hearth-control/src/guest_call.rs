//! Guest calls: HTTP requests to the application of a running instance.

use std::fmt;
use std::time::Duration;

/// One POST request to the application of a running instance.
#[derive(Clone, PartialEq, Eq)]
pub struct GuestCall {
    /// The port of the application.
    pub port: u16,
    /// The path, beginning with `/`.
    pub path: String,
    /// The body, JSON. It may hold secrets: `Debug` shows its length only.
    pub body: Option<String>,
    /// How long the application has to answer.
    pub timeout: Duration,
}

impl fmt::Debug for GuestCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body_bytes = self.body.as_ref().map(String::len);
        f.debug_struct("GuestCall")
            .field("port", &self.port)
            .field("path", &self.path)
            .field("body_bytes", &body_bytes)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The outcome of a guest call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// The application answered with status 200.
    Done,
    /// The application answered with another status.
    Status(u16),
    /// The connection was refused: nothing listens on the port.
    Refused,
    /// No answer within the timeout.
    TimedOut,
    /// The connection broke, or the answer was not HTTP.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_not_printed() {
        let call = GuestCall {
            port: 8080,
            path: "/run".to_owned(),
            body: Some("hush".to_owned()),
            timeout: Duration::from_secs(1),
        };
        let printed = format!("{call:?}");
        assert!(printed.contains("body_bytes: Some(4)") && !printed.contains("hush"));
    }
}
