//! Closing a connection so that its last answer arrives.
//!
//! A server may answer before it has read the whole request: it refuses an upload for its signature, for its size, or
//! because the disk is full. If it then closes its socket while the client still sends, the client's kernel receives a
//! reset and discards the answer. The client's program sees a broken connection instead of the refusal (RFC 9112
//! section 9.6). So the server shuts down its writing side and keeps reading for a while.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that are read and discarded at a time.
const PIECE_BYTES: usize = 8 * 1024;

/// How long and how much a server reads from a client that still sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LingerLimits {
    /// Longest time in total.
    pub time: Duration,
    /// Longest time without a byte.
    pub silence: Duration,
    /// Most bytes that are read and discarded.
    pub bytes: u64,
}

impl LingerLimits {
    /// For clients on the network: the times are nginx's `lingering_time` and `lingering_timeout`. The size is not
    /// limited: these bytes cost no more than those of an accepted upload.
    pub const CLIENT: Self = Self {
        time: Duration::from_secs(30),
        silence: Duration::from_secs(5),
        bytes: u64::MAX,
    };
}

/// A stream of HTTP/1.1 that keeps reading for a while after its shutdown, unless its peer closed first.
pub struct Lingering<S> {
    stream: S,
    limits: LingerLimits,
    stopped: Option<watch::Receiver<bool>>,
    has_ended: bool,
    upgraded: Option<Arc<AtomicBool>>,
    rest: Option<Rest>,
}

/// State of the reading after the last answer.
struct Rest {
    bytes: u64,
    deadline: Instant,
    pause: Pin<Box<Sleep>>,
}

impl<S> Lingering<S> {
    /// Wraps `stream`.
    pub fn new(stream: S, limits: LingerLimits) -> Self {
        Self {
            stream,
            limits,
            stopped: None,
            has_ended: false,
            upgraded: None,
            rest: None,
        }
    }

    /// Does not begin to wait after `stopped` is set: idle connections would delay the server's end.
    #[must_use]
    pub fn unless(mut self, stopped: watch::Receiver<bool>) -> Self {
        self.stopped = Some(stopped);
        self
    }

    /// Does not wait after `upgraded` is set. The two directions of an upgraded stream end independently, and bytes
    /// that arrive after a shutdown of one direction belong to the upgraded protocol.
    #[must_use]
    pub fn unless_upgraded(mut self, upgraded: Arc<AtomicBool>) -> Self {
        self.upgraded = Some(upgraded);
        self
    }

    fn is_stopped(&self) -> bool {
        self.stopped.as_ref().is_some_and(|stop| *stop.borrow())
    }

    fn is_upgraded(&self) -> bool {
        self.upgraded
            .as_ref()
            .is_some_and(|upgraded| upgraded.load(Ordering::Acquire))
    }
}

impl Rest {
    fn begin(limits: LingerLimits) -> Self {
        Self {
            bytes: 0,
            deadline: Instant::now() + limits.time,
            pause: Box::pin(sleep(limits.silence)),
        }
    }

    /// Ready when the reading has ended: at the peer's end, an error, or a limit.
    fn poll<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limits: LingerLimits,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut piece = [MaybeUninit::<u8>::uninit(); PIECE_BYTES];
        loop {
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut *stream).poll_read(cx, &mut piece) {
                Poll::Pending => return self.pause.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    self.bytes += piece.filled().len() as u64;
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
            let now = Instant::now();
            if self.bytes >= limits.bytes || now >= self.deadline {
                return Poll::Ready(());
            }
            let until = self.deadline.min(now + limits.silence);
            self.pause.as_mut().reset(until);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        self.has_ended |= is_end || read.is_err();
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if this.has_ended || this.is_upgraded() || this.is_stopped() {
                return Poll::Ready(Ok(()));
            }
        }
        let limits = this.limits;
        let rest = this.rest.get_or_insert_with(|| Rest::begin(limits));
        rest.poll(&mut this.stream, limits, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMITS: LingerLimits = LingerLimits {
        time: Duration::from_secs(30),
        silence: Duration::from_secs(5),
        bytes: 1 << 20,
    };

    fn pair() -> (Lingering<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(1024);
        (Lingering::new(near, LIMITS), far)
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_client_still_sends_is_taken_and_it_hears_the_answer() {
        let (mut server, mut client) = pair();
        let serving = tokio::spawn(async move {
            server.write_all(b"no").await.unwrap();
            server.shutdown().await.unwrap();
        });
        client.write_all(&[7; 100_000]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
        drop(client);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_behind_an_upgrade_is_not_taken() {
        let (server, mut client) = pair();
        let upgraded = Arc::new(AtomicBool::new(false));
        let mut server = server.unless_upgraded(Arc::clone(&upgraded));
        upgraded.store(true, Ordering::Release);
        client.write_all(b"more").await.unwrap();
        server.shutdown().await.unwrap();
        let mut rest = [0; 4];
        server.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"more");
    }

    /// How long a shutdown takes while the client sends a piece at a time.
    async fn shutdown(piece_bytes: usize, pause: Duration) -> Duration {
        let (mut server, mut client) = pair();
        let sending = tokio::spawn(async move {
            while client.write_all(&vec![7; piece_bytes]).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let begun = Instant::now();
        server.shutdown().await.unwrap();
        let taken = begun.elapsed();
        drop(server);
        sending.await.unwrap();
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_its_limits() {
        let dripping = shutdown(1, Duration::from_secs(2)).await;
        assert_eq!(dripping, LIMITS.time);
        let silent = shutdown(1, Duration::from_secs(60)).await;
        assert_eq!(silent, LIMITS.silence);
        let flooding = shutdown(4096, Duration::from_millis(1)).await;
        assert!(flooding < Duration::from_secs(1), "{flooding:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_client_that_has_ended_or_a_server_that_stops() {
        let (mut server, client) = pair();
        drop(client);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        let begun = Instant::now();
        server.shutdown().await.unwrap();

        let (server, _client) = pair();
        let (_stop, stopped) = watch::channel(true);
        server.unless(stopped).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
