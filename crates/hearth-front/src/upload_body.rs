//! A request body with a limit on its silences.
//!
//! Uploads may be large and slow, so their total time is not limited. Two things are: each silence between two
//! pieces, and all silences together. A client earns time to be silent with each byte that it sends. So in the long
//! run a body must come at [`LEAST_BYTES_PER_SECOND`], and sending a byte every half minute does not keep a
//! connection open.

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

/// The lowest average rate of a body: below that of any line that can carry S3, but high enough that a slow attack
/// costs something.
const LEAST_BYTES_PER_SECOND: u64 = 1024;

/// The most silence that a client can have in store: for lines that break down for a while again and again.
const MAX_CREDIT: Duration = Duration::from_secs(120);

/// A body with a limit on its silences. Only time that the reader waits for the client counts. While the reader is
/// busy, for example with a slow disk, the client cannot be silent.
pub(crate) struct UploadBody<B = Incoming> {
    body: B,
    deadline: Pin<Box<Sleep>>,
    /// Since when the reader waits for the client, if it does. The deadline belongs to this wait.
    waiting_since: Option<Instant>,
    /// How long the client may still be silent, in all.
    credit: Duration,
}

impl<B> UploadBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            deadline: Box::pin(sleep(SILENCE)),
            waiting_since: None,
            credit: MAX_CREDIT,
        }
    }

    /// Subtracts the silence that has ended from the credit, and adds what the bytes earn.
    fn settle(&mut self, bytes: usize) {
        let since = self.waiting_since.take();
        let silence = since.map_or(Duration::ZERO, |since| since.elapsed());
        let earned = Duration::from_micros(bytes as u64 * 1_000_000 / LEAST_BYTES_PER_SECOND);
        self.credit = (self.credit.saturating_sub(silence) + earned).min(MAX_CREDIT);
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the client was silent for too long, or sends less than {LEAST_BYTES_PER_SECOND} bytes a second"
)]
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
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok());
            let data = data.and_then(Frame::data_ref);
            this.settle(data.map_or(0, Bytes::len));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.waiting_since.is_none() {
            let now = Instant::now();
            this.waiting_since = Some(now);
            let patience = SILENCE.min(this.credit);
            this.deadline.as_mut().reset(now + patience);
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

    /// As much as a client has to send in the time of the longest silence.
    fn large_piece() -> Piece {
        let bytes = LEAST_BYTES_PER_SECOND * SILENCE.as_secs();
        Ok(Frame::data(Bytes::from(vec![7; bytes as usize])))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up() {
        let (_sender, mut body) = body();
        let begun = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(begun.elapsed().as_secs(), SILENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_silent_again_after_each_piece_that_is_large_enough() {
        const PIECES: usize = 100;
        let (sender, mut body) = body();
        tokio::spawn(async move {
            for _ in 0..PIECES {
                sleep(SILENCE - Duration::from_secs(1)).await;
                sender.send(large_piece()).unwrap();
            }
        });
        for _ in 0..PIECES {
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.is_none());
    }

    /// Finding H1, its third part: a byte every 29 seconds kept a connection for ever.
    #[tokio::test(start_paused = true)]
    async fn pieces_that_trickle_are_given_up() {
        let (sender, mut body) = body();
        tokio::spawn(async move {
            while sender.send(piece()).is_ok() {
                sleep(SILENCE - Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let read_all = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
        let ended = tokio::time::timeout(Duration::from_secs(3600), read_all).await;
        assert!(ended.is_ok(), "it is read after an hour");
        assert!(
            begun.elapsed() <= MAX_CREDIT + SILENCE,
            "{:?}",
            begun.elapsed()
        );
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
