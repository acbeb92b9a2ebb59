//! The listener: limits on connections, heads and time, then one task for each connection.
//!
//! HTTP/1.1 only: every AWS client speaks it, and each of its phases can be limited.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearth_http::{LingerLimits, Lingering, Place, Places};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::call::{CallOrigin, IsEncrypted};
use crate::front::Front;

/// A head that takes longer is taken for a slowloris attack. This is also how long a kept-alive connection may be
/// idle, because hyper waits for the next head in the same way.
const HEAD_TIME: Duration = Duration::from_secs(20);

/// Largest head: SDKs with session tokens stay below 8 KiB, ARNs in paths add at most 10 KiB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Pause after a failed accept (usually for lack of file descriptors), to avoid a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests in flight may take when the front is stopped.
const DRAIN_TIME: Duration = Duration::from_secs(10);

const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Why the front does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Plain HTTP beyond loopback: signatures protect requests, but not the secrets in answers.
    #[error("{0} is not a loopback address: configure TLS to listen there")]
    PlainTextBeyondLoopback(SocketAddr),
    /// The listener is not usable.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
}

/// How requests are protected on their way to the listener.
pub enum Transport {
    /// Plain HTTP that never leaves this machine. Refused on any address but loopback.
    Loopback,
    /// TLS.
    Tls(Arc<ServerConfig>),
    /// Plain HTTP on the network card of an emulated host: only the machine that emulates the host can reach that
    /// card, from its own loopback.
    PrivateNetwork,
}

/// Serves `front` on `listener` until `stop` completes, then lets requests in flight finish.
///
/// # Errors
///
/// [`ServeError`]. A failure of a single connection ends only that connection.
pub async fn serve(
    front: Arc<Front>,
    listener: TcpListener,
    transport: Transport,
    places: Places,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    let tls = match transport {
        Transport::Tls(config) => Some(TlsAcceptor::from(config)),
        Transport::Loopback if !address.ip().is_loopback() => {
            return Err(ServeError::PlainTextBeyondLoopback(address));
        }
        Transport::Loopback | Transport::PrivateNetwork => None,
    };
    let graceful = GracefulShutdown::new();
    let (stopping, stopped) = watch::channel(false);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = places.take(peer.ip()) else {
            refuse(&front, stream);
            continue;
        };
        let connection = Connection {
            front: Arc::clone(&front),
            peer,
            watcher: graceful.watcher(),
            stopped: stopped.clone(),
        };
        tokio::spawn(connection.run(stream, tls.clone(), place));
    }
    drop(listener);
    stopping.send_replace(true);
    let _ = tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await;
    Ok(())
}

/// Answers a client above the limit with 503, as far as the socket buffer takes that.
fn refuse(front: &Front, mut stream: TcpStream) {
    front.metrics.refused_connections.inc();
    tokio::spawn(async move {
        let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(OVERLOADED)).await;
    });
}

struct Connection {
    front: Arc<Front>,
    peer: SocketAddr,
    watcher: Watcher,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>, place: Place) {
        let connections = self.front.metrics.connections.clone();
        connections.inc();
        // Sends small answers at once. A failure only costs latency.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.http(stream, false).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream));
                if let Ok(Ok(stream)) = handshake.await {
                    self.http(stream, true).await;
                }
            }
        }
        connections.dec();
        drop(place);
    }

    async fn http<S>(self, stream: S, is_encrypted: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            front,
            peer,
            watcher,
            stopped,
        } = self;
        let stream = Lingering::new(stream, LingerLimits::CLIENT).unless(stopped);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if is_encrypted {
                request.extensions_mut().insert(IsEncrypted);
            }
            let front = Arc::clone(&front);
            async move {
                Ok::<_, std::convert::Infallible>(
                    front.handle(CallOrigin::Listener(peer.ip()), request).await,
                )
            }
        });
        let connection = http().serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// HTTP/1.1, with a limit on each of its phases.
pub(crate) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES);
    http
}
