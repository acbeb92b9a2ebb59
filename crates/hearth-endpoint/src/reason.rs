//! Why a request of a token's owner is not answered by its application, in words: the bodies of 429 and 502.
//!
//! AWS leaves both bodies empty (facts section 9). Only a request with a valid token is told more, so nobody else
//! learns about a microVM.

use std::fmt;
use std::time::Duration;

/// Why there is no answer of the application: the body of a 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The client showed no token, so it is told nothing.
    Untold,
    /// The microVM is being launched.
    Pending,
    /// The microVM is suspended, and traffic may not resume it.
    Suspended,
    /// The microVM has ended.
    Ended,
    /// The resume that the request waited for failed.
    NotResumed,
    /// The resume took longer than this.
    ResumeTimedOut(Duration),
    /// Nothing listens on this port.
    NothingListens(u16),
    /// The guest did not answer, or did not open a connection to this port in time.
    GuestSilent(u16),
    /// The TLS handshake with the application on this port failed.
    TlsFailed(u16),
    /// The head of the application's answer is beyond the limits.
    HeadTooLarge {
        /// Most bytes of a head.
        max_bytes: usize,
        /// Most lines of a head.
        max_lines: usize,
    },
    /// What came from this port is not HTTP.
    NotHttp(u16),
    /// The application closed the connection before the end of its answer's head.
    HungUp(u16),
    /// The body of the request broke off or stood still.
    RequestBroke,
    /// The application switches to a protocol that the client did not ask for.
    UnwantedUpgrade,
    /// The shell answers WebSockets at `/` and `/shell` only.
    NoWebSocket,
    /// No shell could be started.
    NoShell,
}

impl NoAnswer {
    /// The reason as a word for programs; `None` for those that are told nothing.
    pub(crate) fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Untold => return None,
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
            Self::NotResumed | Self::ResumeTimedOut(_) => "not-resumed",
            Self::NothingListens(_) => "nothing-listens",
            Self::GuestSilent(_) => "guest-silent",
            Self::TlsFailed(_) => "tls-failed",
            Self::HeadTooLarge { .. } => "head-too-large",
            Self::NotHttp(_) => "not-http",
            Self::HungUp(_) => "hung-up",
            Self::RequestBroke => "request-broke",
            Self::UnwantedUpgrade => "unwanted-upgrade",
            Self::NoWebSocket => "no-websocket",
            Self::NoShell => "no-shell",
        })
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untold => Ok(()),
            Self::Pending => f.write_str("The microVM is PENDING: it is still being launched."),
            Self::Suspended => f.write_str(
                "The microVM is SUSPENDED, and traffic does not resume it: it has no idle policy with \
                 autoResumeEnabled. ResumeMicrovm resumes it.",
            ),
            Self::Ended => f.write_str("The microVM is TERMINATED."),
            Self::NotResumed => f.write_str(
                "The microVM was SUSPENDED and could not be resumed. GetMicrovm tells the reason.",
            ),
            Self::ResumeTimedOut(limit) => write!(
                f,
                "The microVM was SUSPENDED and did not resume within {} s.",
                limit.as_secs_f64()
            ),
            Self::NothingListens(port) => write!(
                f,
                "Nothing listens on port {port} of the microVM. X-aws-proxy-port names another port."
            ),
            Self::GuestSilent(port) => write!(
                f,
                "The microVM did not open a connection to its port {port} in time."
            ),
            Self::TlsFailed(port) => write!(
                f,
                "The TLS handshake with the application on port {port} failed."
            ),
            Self::HeadTooLarge {
                max_bytes,
                max_lines,
            } => write!(
                f,
                "The head of the application's answer has more than {} KiB or {max_lines} header lines.",
                max_bytes / 1024
            ),
            Self::NotHttp(port) => write!(f, "The application on port {port} did not answer in HTTP."),
            Self::HungUp(port) => write!(
                f,
                "The application on port {port} closed the connection before it answered."
            ),
            Self::RequestBroke => {
                f.write_str("The body of the request broke off or stood still before the application answered.")
            }
            Self::UnwantedUpgrade => f.write_str(
                "The application switched to another protocol, which the request did not ask for.",
            ),
            Self::NoWebSocket => {
                f.write_str("The shell answers WebSockets at / and /shell, and nothing else.")
            }
            Self::NoShell => f.write_str("No shell could be started in the microVM."),
        }
    }
}

/// A limit that a request is above: the body of a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// The microVM has this many client connections.
    Connections(u32),
    /// The request would have had to wait too long for its turn.
    Requests {
        /// The rate of the microVM's size.
        per_second: u32,
        /// How long a request may wait for its turn.
        longest_wait: Duration,
        /// When it would have had to come.
        retry_after: Duration,
    },
    /// This many requests wait for the resume of the microVM.
    Waiting(usize),
    /// Too many CORS preflights. Their senders are unknown, so they are told nothing more.
    Preflights,
}

impl LimitReached {
    /// The limit as a word for programs; `None` for those that are told nothing.
    pub(crate) fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Connections(_) => "too-many-connections",
            Self::Requests { .. } => "too-many-requests",
            Self::Waiting(_) => "too-many-waiting",
            Self::Preflights => return None,
        })
    }

    /// The value of `Retry-After`, in whole seconds.
    pub(crate) fn retry_after_s(self) -> u64 {
        let wait = match self {
            Self::Requests { retry_after, .. } => retry_after,
            // Places are given back within moments, by connections that close and resumes that end.
            Self::Connections(_) | Self::Waiting(_) | Self::Preflights => Duration::ZERO,
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        seconds.max(1)
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(max) => write!(
                f,
                "The microVM has {max} connections, as many as one of its size may have. HTTP/2 needs one for many requests."
            ),
            Self::Requests {
                per_second,
                longest_wait,
                ..
            } => write!(
                f,
                "The microVM takes {per_second} requests per second, as one of its size may, and more are waiting than it takes in {} s.",
                longest_wait.as_secs_f64()
            ),
            Self::Waiting(max) => write!(
                f,
                "{max} requests are waiting for the microVM to resume, as many as may."
            ),
            Self::Preflights => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_never_told_too_early() {
        let requests = |ms| LimitReached::Requests {
            per_second: 10,
            longest_wait: Duration::from_secs(30),
            retry_after: Duration::from_millis(ms),
        };
        for (limit, seconds) in [
            (requests(0), 1),
            (requests(1000), 1),
            (requests(1001), 2),
            (LimitReached::Connections(8), 1),
        ] {
            assert_eq!(limit.retry_after_s(), seconds, "{limit:?}");
        }
    }

    #[test]
    fn strangers_are_told_nothing() {
        assert_eq!(NoAnswer::Untold.to_string(), "");
        assert_eq!(NoAnswer::Untold.word(), None);
        assert_eq!(LimitReached::Preflights.to_string(), "");
        assert_eq!(LimitReached::Preflights.word(), None);
    }
}
