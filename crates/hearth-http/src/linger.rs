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

/// What is read as fast as it comes: what is on its way when the answer is sent, at most.
const FREE_BYTES: u64 = 1 << 20;

/// How long and how much a server reads from a client that still sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LingerLimits {
    /// Longest time in total.
    pub time: Duration,
    /// Longest time without a byte.
    pub silence: Duration,
    /// Most bytes that are read and discarded.
    pub bytes: u64,
    /// How fast they are read, in bytes per second, once a MiB was read.
    pub bytes_per_second: u64,
}

impl LingerLimits {
    /// For clients on the network: the times are nginx's `lingering_time` and `lingering_timeout`. The rate is below
    /// that of most uploads, as nobody has paid for these bytes: strangers had the front read gigabytes a second.
    pub const CLIENT: Self = Self {
        time: Duration::from_secs(30),
        silence: Duration::from_secs(5),
        bytes: u64::MAX,
        bytes_per_second: 4 << 20,
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
    begun: Instant,
    pause: Pin<Box<Sleep>>,
    /// Whether the pause is for the rate. Otherwise it ends the waiting for bytes.
    is_ahead: bool,
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
            begun: Instant::now(),
            pause: Box::pin(sleep(limits.silence)),
            is_ahead: false,
        }
    }

    /// When so many bytes may have been read.
    fn due(&self, limits: LingerLimits) -> Instant {
        let paid = self.bytes.saturating_sub(FREE_BYTES) as f64;
        self.begun + Duration::from_secs_f64(paid / limits.bytes_per_second.max(1) as f64)
    }

    /// Ready when the reading has ended: at the peer's end, an error, or a limit.
    fn poll<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limits: LingerLimits,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut piece = [MaybeUninit::<u8>::uninit(); PIECE_BYTES];
        let deadline = self.begun + limits.time;
        loop {
            if self.is_ahead {
                ready!(self.pause.as_mut().poll(cx));
                self.is_ahead = false;
                self.pause
                    .as_mut()
                    .reset(deadline.min(Instant::now() + limits.silence));
            }
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut *stream).poll_read(cx, &mut piece) {
                Poll::Pending => return self.pause.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    self.bytes += piece.filled().len() as u64;
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
            let now = Instant::now();
            if self.bytes >= limits.bytes || now >= deadline {
                return Poll::Ready(());
            }
            let due = self.due(limits);
            // A timer is good to a millisecond.
            self.is_ahead = due > now + Duration::from_millis(1);
            let until = if self.is_ahead {
                due
            } else {
                now + limits.silence
            };
            self.pause.as_mut().reset(deadline.min(until));
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
        bytes_per_second: 1 << 20,
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

    /// Strangers cannot have a server read as fast as they send: that is work of its processors, for nothing.
    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_is_read_slowly() {
        let (near, mut client) = duplex(64 << 10);
        let limits = LingerLimits {
            bytes: u64::MAX,
            bytes_per_second: 2 << 20,
            ..LIMITS
        };
        let mut server = Lingering::new(near, limits);
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while client.write_all(&[7; 64 << 10]).await.is_ok() {
                sent += 64 << 10;
            }
            sent
        });
        let begun = Instant::now();
        server.shutdown().await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), LIMITS.time.as_secs());
        drop(server);
        let sent: u64 = sending.await.unwrap();
        let allowed = FREE_BYTES + 30 * (2 << 20);
        assert!(
            (allowed / 10 * 9..allowed + (1 << 20)).contains(&sent),
            "{sent}"
        );
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
