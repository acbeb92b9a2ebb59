//! A body that is counted, limited to a rate, and ended when it stalls.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::traffic::{Direction, Traffic};

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection of the body failed, or its framing is broken.
    #[error("the body broke off")]
    Broken(#[from] hyper::Error),
    /// No bytes came for too long.
    #[error("the body stood still")]
    Stalled,
    /// Another attempt to send the body has begun.
    #[error("the body is being sent again")]
    Superseded,
}

pub(crate) struct Metered<B> {
    inner: B,
    traffic: Arc<Traffic>,
    direction: Direction,
    /// Pending while the body is ahead of its rate.
    pause: Option<Pin<Box<Sleep>>>,
    stall: Option<Stall>,
}

struct Stall {
    limit: Duration,
    /// Armed while the source has no bytes.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Metered<B> {
    pub(crate) fn new(inner: B, traffic: Arc<Traffic>, direction: Direction) -> Self {
        Self {
            inner,
            traffic,
            direction,
            pause: None,
            stall: None,
        }
    }

    /// Ends the body with an error when no bytes come for this long.
    pub(crate) fn with_stall(mut self, limit: Duration) -> Self {
        self.stall = Some(Stall { limit, timer: None });
        self
    }
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let is_stalled = this
                .stall
                .as_mut()
                .is_some_and(|stall| stall.poll(cx).is_ready());
            return if is_stalled {
                Poll::Ready(Some(Err(BodyError::Stalled)))
            } else {
                Poll::Pending
            };
        };
        if let Some(stall) = &mut this.stall {
            stall.timer = None;
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let wait = this.traffic.pass(this.direction, data.len());
            if !wait.is_zero() {
                this.pause = Some(Box::pin(sleep(wait)));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Stall {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(cx)
    }
}
