//! One connection of a client: TLS, then HTTP/1.1 or HTTP/2, each with its limits.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearth_http::{LingerLimits, Lingering, Place};
use http::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::client::Client;
use crate::framing::Watched;
use crate::id::EndpointId;
use crate::proxy;
use crate::routing::ListenerRoute;
use crate::settings::Settings;
use crate::shared::Shared;

/// Largest frame of HTTP/2 that a client may send: fewer, larger frames make uploads cheaper.
const MAX_FRAME_BYTES: u32 = 64 * 1024;

/// Bytes that one HTTP/2 stream may have buffered for sending.
const MAX_SEND_BYTES: usize = 128 * 1024;

/// How often a silent HTTP/2 connection is pinged, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);

/// How long a connection may take to end after it was told to.
const GOODBYE_TIME: Duration = Duration::from_secs(5);

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The TLS handshake failed.
    #[error("no TLS handshake")]
    Handshake(#[source] io::Error),
    /// The TLS handshake took too long.
    #[error("the TLS handshake took too long")]
    HandshakeTime,
    /// The HTTP connection failed.
    #[error("HTTP broke off")]
    Http(#[source] hyper::Error),
}

/// A client connection that was just accepted.
pub(crate) struct AcceptedConnection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: ListenerRoute,
    pub(crate) place: Place,
}

impl AcceptedConnection {
    pub(crate) async fn run(
        self,
        stream: TcpStream,
        tls: Arc<ServerConfig>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), ConnectionError> {
        let settings = &self.shared.settings;
        let stream = tokio::time::timeout(settings.handshake_time, self.shake_hands(stream, tls))
            .await
            .map_err(|_| ConnectionError::HandshakeTime)?
            .map_err(ConnectionError::Handshake)?;
        let (_, session) = stream.get_ref();
        let server_name = session.server_name().map(str::to_owned);
        let is_h2 = session.alpn_protocol() == Some(b"h2");
        let malformed = Arc::new(AtomicBool::new(false));
        let client = Client::new(self.route, server_name, Arc::clone(&malformed), self.place);
        let session = Session {
            shared: self.shared,
            client: Arc::new(client),
            stop,
        };
        if is_h2 {
            session.http2(stream).await
        } else {
            session.http1(stream, malformed).await
        }
    }

    /// Performs the TLS handshake. The certificate for the requested name is issued before the handshake continues,
    /// if need be.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        tls: Arc<ServerConfig>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = begun.client_hello().server_name().map(str::to_owned);
        if let Some(name) = name {
            self.prepare_certificate(&name).await;
        }
        begun.into_stream(tls).await
    }

    async fn prepare_certificate(&self, name: &str) {
        let Some(id) = EndpointId::from_host(name) else {
            return;
        };
        let certificates = &self.shared.certificates;
        if certificates.is_ready(name) {
            return;
        }
        let domain = self.shared.settings.domain.as_deref();
        let is_ours = domain.is_some_and(|domain| is_below(name, domain))
            && self.shared.backend.find(id).await.is_some();
        if is_ours || certificates.may_sign_for_unknown_name() {
            certificates.prepare(name);
        }
    }
}

/// Whether a name is one label below a domain.
fn is_below(name: &str, domain: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(domain))
}

struct Session {
    shared: Arc<Shared>,
    client: Arc<Client>,
    stop: watch::Receiver<bool>,
}

/// Drives a connection of either protocol. Their types in hyper have the same methods but no common trait. Ends the
/// connection when it is idle for too long or the endpoint stops.
macro_rules! drive {
    ($session:expr, $connection:expr) => {{
        let mut session = $session;
        let mut connection = pin!($connection);
        tokio::select! {
            ended = connection.as_mut() => ended.map_err(ConnectionError::Http),
            () = session.is_over() => {
                connection.as_mut().graceful_shutdown();
                let limit = session.goodbye_time();
                tokio::time::timeout(limit, connection).await.unwrap_or(Ok(())).map_err(ConnectionError::Http)
            }
        }
    }};
}

impl Session {
    async fn http1(
        self,
        stream: TlsStream<TcpStream>,
        malformed: Arc<AtomicBool>,
    ) -> Result<(), ConnectionError> {
        let Settings {
            head_time,
            max_head_bytes,
            max_headers,
            ..
        } = self.shared.settings;
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        let upgraded = Arc::new(AtomicBool::new(false));
        let is_upgraded = Arc::clone(&upgraded);
        let service = service_fn(move |request| {
            let answer = proxy::serve(Arc::clone(&shared), Arc::clone(&client), request);
            let is_upgraded = Arc::clone(&is_upgraded);
            async move {
                let answer = answer.await;
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    is_upgraded.store(true, Ordering::Release);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = Lingering::new(stream, LingerLimits::CLIENT)
            .unless(self.stop.clone())
            .unless_upgraded(Arc::clone(&upgraded));
        let io = TokioIo::new(Watched::new(stream, malformed, upgraded));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_time)
            .max_buf_size(max_head_bytes)
            // The buffer may exceed its size by one read. This limit is exact.
            .max_header_size(max_head_bytes)
            .max_headers(max_headers)
            .serve_connection(io, service)
            .with_upgrades();
        drive!(self, connection)
    }

    async fn http2(self, stream: TlsStream<TcpStream>) -> Result<(), ConnectionError> {
        let settings = &self.shared.settings;
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        let service = service_fn(move |request| {
            let answer = proxy::serve(Arc::clone(&shared), Arc::clone(&client), request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(settings.stream_window_bytes)
            .initial_connection_window_size(settings.connection_window_bytes)
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(u32::try_from(settings.max_head_bytes).unwrap_or(u32::MAX))
            .max_frame_size(MAX_FRAME_BYTES)
            .max_send_buf_size(MAX_SEND_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIME)
            .serve_connection(TokioIo::new(stream), service);
        drive!(self, connection)
    }

    /// Returns when the connection was idle for too long or the endpoint stops.
    async fn is_over(&mut self) {
        let limit = self.shared.settings.head_time;
        let idle = async {
            while !self.client.is_idle(limit) {
                tokio::time::sleep(limit / 2).await;
            }
        };
        tokio::select! {
            () = idle => {}
            _ = self.stop.wait_for(|&stop| stop) => {}
        }
    }

    fn goodbye_time(&self) -> Duration {
        if *self.stop.borrow() {
            self.shared.settings.drain_time
        } else {
            GOODBYE_TIME
        }
    }
}
