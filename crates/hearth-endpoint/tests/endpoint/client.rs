//! Clients of the endpoint: HTTP over TLS, and bytes over TLS for what no honest client sends.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rig::Rig;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

/// A TLS connection that trusts the rig's authority alone.
pub(crate) async fn tls(rig: &Rig, to: SocketAddr, name: &str, alpn: &str) -> TlsStream<TcpStream> {
    try_tls(rig, to, name, alpn).await.unwrap()
}

/// Whether a client that asks for this name is shown a certificate for it.
pub(crate) async fn is_shown_its_name(rig: &Rig, to: SocketAddr, name: &str) -> bool {
    try_tls(rig, to, name, "http/1.1").await.is_ok()
}

async fn try_tls(
    rig: &Rig,
    to: SocketAddr,
    name: &str,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(rig.authority.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

/// A connection of HTTP/1.1 to the microVM's own port.
pub(crate) async fn http1<B>(rig: &Rig) -> http1::SendRequest<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tls(rig, rig.own, "127.0.0.1", "http/1.1").await;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// A connection of HTTP/2 to the microVM's own port.
pub(crate) async fn http2<B>(rig: &Rig) -> http2::SendRequest<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tls(rig, rig.own, "127.0.0.1", "h2").await;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// A GET over a connection of its own.
pub(crate) async fn get(rig: &Rig, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header("host", rig.own.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    Answer::read(http1(rig).await.send_request(request).await.unwrap()).await
}

/// A GET with a token for everything.
pub(crate) async fn get_in(rig: &Rig, path: &str) -> Answer {
    get(rig, path, &[("x-aws-proxy-auth", &rig.token())]).await
}

/// Sends bytes as they are, and reads until the endpoint closes.
pub(crate) async fn raw(rig: &Rig, bytes: &[u8]) -> String {
    let mut stream = tls(rig, rig.own, "127.0.0.1", "http/1.1").await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // However it ends, what came before counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
