//! A request body that must keep coming.
//!
//! Uploads may be large and take long, so their whole time is not limited; the time between two of
//! their pieces is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::wire::BodyError;

/// Longest silence inside a body.
const SILENCE: Duration = Duration::from_secs(30);

/// A body with a limit on its silences.
pub(crate) struct UploadBody {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl UploadBody {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            deadline: Box::pin(sleep(SILENCE)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the client was silent for too long")]
struct Silent;

impl Body for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.deadline.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(Box::new(Silent))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
