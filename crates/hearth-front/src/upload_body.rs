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

/// A body with a limit on its silences. Only the time counts in which somebody waits for the client: while the reader
/// has other things to do (the disk is slow), the client cannot be silent.
pub(crate) struct UploadBody<B = Incoming> {
    body: B,
    deadline: Pin<Box<Sleep>>,
    /// Whether the reader waits for the client, and the deadline is that of this wait.
    is_waiting: bool,
}

impl<B> UploadBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            deadline: Box::pin(sleep(SILENCE)),
            is_waiting: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the client was silent for too long")]
struct Silent;

impl<B> Body for UploadBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !this.is_waiting {
            this.is_waiting = true;
            this.deadline.as_mut().reset(Instant::now() + SILENCE);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    type Piece = Result<Frame<Bytes>, Infallible>;

    /// A body, and what sends its pieces.
    fn body() -> (
        mpsc::UnboundedSender<Piece>,
        impl Body<Data = Bytes, Error = BodyError> + Unpin,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel::<Piece>();
        let pieces = stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        (sender, UploadBody::new(StreamBody::new(Box::pin(pieces))))
    }

    fn piece() -> Piece {
        Ok(Frame::data(Bytes::from_static(b"piece")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up() {
        let (_sender, mut body) = body();
        let begun = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(begun.elapsed().as_secs(), SILENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_silent_again_after_each_piece() {
        let (sender, mut body) = body();
        tokio::spawn(async move {
            for _ in 0..4 {
                sleep(SILENCE - Duration::from_secs(1)).await;
                sender.send(piece()).unwrap();
            }
        });
        for _ in 0..4 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.is_none());
    }

    /// The reader was busy for longer than a client may be silent, and the client's next piece is on its way.
    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_reads_is_not_the_clients() {
        let (sender, mut body) = body();
        sender.send(piece()).unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        sleep(2 * SILENCE).await;
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            sender.send(piece()).unwrap();
        });
        assert!(body.frame().await.unwrap().is_ok());
    }
}
