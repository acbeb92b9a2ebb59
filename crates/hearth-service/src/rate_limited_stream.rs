//! A stream with a byte rate: it pauses when it is ahead of the rate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Counts bytes with `take`, which answers how long to wait before the next byte.
pub(crate) struct RateLimited<S, F> {
    stream: S,
    take: F,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S, F: Fn(usize) -> Duration> RateLimited<S, F> {
    pub(crate) fn new(stream: S, take: F) -> Self {
        Self {
            stream,
            take,
            pause: None,
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn count(&mut self, bytes: usize) {
        let wait = (self.take)(bytes);
        if !wait.is_zero() {
            self.pause = Some(Box::pin(sleep(wait)));
        }
    }
}

impl<S, F> AsyncRead for RateLimited<S, F>
where
    S: AsyncRead + Unpin,
    F: Fn(usize) -> Duration + Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pause(cx));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        this.count(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S, F> AsyncWrite for RateLimited<S, F>
where
    S: AsyncWrite + Unpin,
    F: Fn(usize) -> Duration + Unpin,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pause(cx));
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.count(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_of_both_directions_take_their_time() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut paced = RateLimited::new(near, |bytes| Duration::from_millis(bytes as u64));
        let begun = Instant::now();
        paced.write_all(&[0; 1000]).await.unwrap();
        far.write_all(&[0; 500]).await.unwrap();
        paced.read_exact(&mut [0; 500]).await.unwrap();
        paced.write_all(&[0; 1]).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(1500));
    }
}
