//! Sends requests to the application: over an idle connection or a new one, in the protocol that the application
//! speaks.
//!
//! ```text
//! free connection? -> send; closed meanwhile and nothing sent (or repeatable) -> new connection
//! port known?      -> send plain or in TLS
//! port unknown     -> send plain; an answer that a TLS server would give (an alert, a close, a 400) is suspicious:
//!                     only then is a TLS handshake tried, and the request sent again if the port speaks TLS
//! ```
//!
//! So an application without TLS, as nearly all are, never sees a probe unless its first answer is a 400.

mod handshake;

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

use crate::backend::OpenError;
use crate::per_microvm::PerMicrovm;
use crate::pool::{PRUNE_INTERVAL, PortKey, Wire};
use crate::reason::NoAnswer;
use crate::settings::Settings;
use crate::upload::{Kept, Upload};

pub(crate) use handshake::Dialer;

/// Why the application did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No stream to the port could be opened. Nothing was sent.
    #[error("no connection to the port")]
    Open {
        /// The cause.
        source: OpenError,
        /// The body, for another attempt.
        body: Option<Upload>,
    },
    /// The guest did not answer the connection request, or the application did not complete its TLS handshake in
    /// time.
    #[error("the guest hangs")]
    Timeout,
    /// The TLS handshake with the application failed.
    #[error("no TLS with the application")]
    Tls(#[source] std::io::Error),
    /// The exchange failed before the head of an answer.
    #[error("the application did not answer")]
    Exchange(#[source] hyper::Error),
    /// The request was partly sent and cannot be sent again.
    #[error("the request cannot be sent again")]
    Spent,
}

impl SendError {
    /// The reason for the client, whose request went to `port`.
    pub(crate) fn reason(&self, port: u16, settings: &Settings) -> NoAnswer {
        match self {
            Self::Open {
                source: OpenError::Refused,
                ..
            } => NoAnswer::NothingListens(port),
            Self::Open { .. } | Self::Timeout => NoAnswer::GuestSilent(port),
            Self::Tls(_) => NoAnswer::TlsFailed(port),
            Self::Exchange(error) if error.is_parse_too_large() => NoAnswer::HeadTooLarge {
                max_bytes: settings.max_head_bytes,
                max_lines: settings.max_headers,
            },
            Self::Exchange(error) if error.is_parse() => NoAnswer::NotHttp(port),
            // The only thing of ours that can fail in an exchange is the body, which is the client's.
            Self::Exchange(error) if error.is_user() => NoAnswer::RequestBroke,
            Self::Exchange(_) | Self::Spent => NoAnswer::HungUp(port),
        }
    }
}

/// An answer, and its connection if that can be reused.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Option<BusyConnection>,
}

/// An HTTP/1.1 connection that is busy with an answer.
pub(crate) struct BusyConnection {
    per_microvm: Arc<PerMicrovm>,
    key: PortKey,
    sender: http1::SendRequest<Upload>,
}

impl BusyConnection {
    /// Returns the connection to the pool: the answer was read to its end.
    pub(crate) fn release(mut self) {
        if self.sender.is_ready() {
            self.put();
            return;
        }
        // The task of the connection sees the end a moment later.
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.put();
            }
        });
    }

    fn put(self) {
        let Self {
            per_microvm,
            key,
            sender,
        } = self;
        if per_microvm.pool.put_h1(key, sender) {
            tokio::spawn(async move {
                while per_microvm.pool.prune(key) {
                    tokio::time::sleep(PRUNE_INTERVAL).await;
                }
            });
        }
    }
}

/// One port of one microVM in one epoch.
pub(crate) struct Upstream {
    pub(crate) per_microvm: Arc<PerMicrovm>,
    pub(crate) key: PortKey,
    pub(crate) dialer: Arc<Dialer>,
}

impl Upstream {
    /// Sends a request. Its version says in which protocol.
    pub(crate) async fn send(&self, parts: Parts, body: Upload) -> Result<Answer, SendError> {
        let is_repeatable = parts.method.is_idempotent() && body.is_end_stream();
        let mut body = body;
        if let Some(free) = self.free(parts.version) {
            match self.send_on(free, parts.clone(), body).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered {
                    unsent: Some(unsent),
                    ..
                }) => body = unsent,
                Err(_) if is_repeatable => body = Upload::Empty,
                Err(unanswered) => return Err(SendError::Exchange(unanswered.error)),
            }
        }
        match self.per_microvm.pool.wire(self.key) {
            None => self.first_contact(parts, body).await,
            Some(wire) => {
                let result = self.send_fresh(wire, parts, body).await;
                if matches!(result, Err(SendError::Exchange(_) | SendError::Tls(_))) {
                    // Another application may use the port now. The next request finds out.
                    self.per_microvm.pool.set_wire(self.key, None);
                }
                result
            }
        }
    }

    async fn first_contact(&self, parts: Parts, body: Upload) -> Result<Answer, SendError> {
        let kept = Kept::new(body);
        let first = kept.attempt().ok_or(SendError::Spent)?;
        let result = self.send_fresh(Wire::Plain, parts.clone(), first).await;
        let is_suspicious = match &result {
            Ok(answer) => answer.response.status() == StatusCode::BAD_REQUEST,
            Err(SendError::Exchange(_)) => true,
            Err(_) => return result,
        };
        if !is_suspicious
            || !self
                .dialer
                .speaks_tls(self.per_microvm.id, self.key.port)
                .await
        {
            kept.settle();
            if result.is_ok() {
                self.per_microvm.pool.set_wire(self.key, Some(Wire::Plain));
            }
            return result;
        }
        self.per_microvm.pool.set_wire(self.key, Some(Wire::Tls));
        drop(result);
        let second = kept.attempt().ok_or(SendError::Spent)?;
        kept.settle();
        self.send_fresh(Wire::Tls, parts, second).await
    }

    fn free(&self, version: Version) -> Option<Sender> {
        if version == Version::HTTP_2 {
            return self.per_microvm.pool.h2(self.key).map(Sender::H2);
        }
        self.per_microvm.pool.take_h1(self.key).map(Sender::H1)
    }

    async fn send_fresh(
        &self,
        wire: Wire,
        parts: Parts,
        body: Upload,
    ) -> Result<Answer, SendError> {
        let opened = self
            .dialer
            .open(self.per_microvm.id, self.key.port, wire, parts.version)
            .await;
        let stream = match opened {
            Err(SendError::Open { source, .. }) => {
                return Err(SendError::Open {
                    source,
                    body: Some(body),
                });
            }
            opened => opened?,
        };
        let sender = if parts.version == Version::HTTP_2 {
            let sender = self
                .dialer
                .http2(stream)
                .await
                .map_err(SendError::Exchange)?;
            self.per_microvm.pool.put_h2(self.key, sender.clone());
            Sender::H2(sender)
        } else {
            Sender::H1(
                self.dialer
                    .http1(stream)
                    .await
                    .map_err(SendError::Exchange)?,
            )
        };
        let _waiting = self.per_microvm.pool.wait(self.key);
        let answer = self.send_on(sender, parts, body).await;
        answer.map_err(|unanswered| SendError::Exchange(unanswered.error))
    }

    async fn send_on(
        &self,
        sender: Sender,
        parts: Parts,
        body: Upload,
    ) -> Result<Answer, Unanswered> {
        let request = Request::from_parts(parts, body);
        match sender {
            Sender::H1(mut sender) => {
                let response = sender
                    .try_send_request(request)
                    .await
                    .map_err(Unanswered::new)?;
                let connection = BusyConnection {
                    per_microvm: Arc::clone(&self.per_microvm),
                    key: self.key,
                    sender,
                };
                Ok(Answer {
                    response,
                    connection: Some(connection),
                })
            }
            Sender::H2(mut sender) => {
                let response = sender
                    .try_send_request(request)
                    .await
                    .map_err(Unanswered::new)?;
                Ok(Answer {
                    response,
                    connection: None,
                })
            }
        }
    }
}

enum Sender {
    H1(http1::SendRequest<Upload>),
    H2(http2::SendRequest<Upload>),
}

struct Unanswered {
    error: hyper::Error,
    /// The body, if the request was never sent.
    unsent: Option<Upload>,
}

impl Unanswered {
    fn new(mut error: hyper::client::conn::TrySendError<Request<Upload>>) -> Self {
        let unsent = error.take_message().map(Request::into_body);
        Self {
            error: error.into_error(),
            unsent,
        }
    }
}
