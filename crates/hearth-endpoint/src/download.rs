//! The body of an answer on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::client::InFlight;
use crate::meter::{BodyError, Metered};
use crate::upstream::BusyConnection;

pub(crate) enum Download {
    /// An answer of the endpoint itself.
    Own(Full<Bytes>),
    /// An answer of the application.
    Application(Box<Forwarded>),
}

/// A body from the application. Read to its end, it returns its connection to the pool. Dropped before, it closes it.
pub(crate) struct Forwarded {
    body: Metered<Incoming>,
    connection: Option<BusyConnection>,
    /// Keeps the client connection from being idle while it reads.
    in_flight: Option<InFlight>,
}

impl Download {
    pub(crate) fn forwarded(body: Metered<Incoming>, connection: Option<BusyConnection>) -> Self {
        let mut forwarded = Forwarded {
            body,
            connection,
            in_flight: None,
        };
        forwarded.release_at_end();
        Self::Application(Box::new(forwarded))
    }

    /// Keeps the request under way until the body is dropped. Answers of the endpoint itself are sent at once.
    pub(crate) fn holding(mut self, in_flight: InFlight) -> Self {
        if let Self::Application(forwarded) = &mut self {
            forwarded.in_flight = Some(in_flight);
        }
        self
    }

    pub(crate) fn empty() -> Self {
        Self::Own(Full::default())
    }
}

impl Forwarded {
    /// Called at the end of the body: hyper may not poll again once the body has said that it has ended.
    fn release_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => {
                let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                    return Poll::Pending;
                };
                // The error type of a body in memory has no values.
                Poll::Ready(frame.and_then(Result::ok).map(Ok))
            }
            Self::Application(forwarded) => {
                let frame = ready!(Pin::new(&mut forwarded.body).poll_frame(cx));
                match &frame {
                    None => drop(forwarded.connection.take().map(BusyConnection::release)),
                    Some(Ok(_)) => forwarded.release_at_end(),
                    Some(Err(_)) => drop(forwarded.connection.take()),
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Application(forwarded) => forwarded.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Application(forwarded) => forwarded.body.size_hint(),
        }
    }
}
