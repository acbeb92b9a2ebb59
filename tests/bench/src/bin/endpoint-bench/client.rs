//! The client: whom it asks, and a connection there.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) type Content = BoxBody<Bytes, std::convert::Infallible>;

/// How the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "h1",
            Self::Http2 => "h2",
        })
    }
}

/// Who is measured.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    address: SocketAddr,
    trusted: Option<RootCertStore>,
    headers: Vec<(String, String)>,
}

impl Subject {
    /// The application itself.
    pub(crate) fn direct(port: u16) -> Self {
        Self {
            name: "direct",
            address: (Ipv4Addr::LOCALHOST, port).into(),
            trusted: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn over_tls(
        name: &'static str,
        address: SocketAddr,
        trusted_pem: &[u8],
        headers: Vec<(String, String)>,
    ) -> Result<Self> {
        let mut trusted = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(trusted_pem) {
            trusted.add(certificate?)?;
        }
        Ok(Self {
            name,
            address,
            trusted: Some(trusted),
            headers,
        })
    }

    /// Whether it speaks so: the application itself has no TLS and so no HTTP/2.
    pub(crate) fn speaks(&self, version: Version) -> bool {
        self.trusted.is_some() || version == Version::Http1
    }

    /// A new connection.
    pub(crate) async fn connect(&self, version: Version) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.name))?;
        stream.set_nodelay(true)?;
        let Some(trusted) = &self.trusted else {
            return Connection::begin(stream, version).await;
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![match version {
            Version::Http1 => b"http/1.1".to_vec(),
            Version::Http2 => b"h2".to_vec(),
        }];
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
        Connection::begin(stream.await?, version).await
    }

    /// Sends a request over a connection to it and reads the answer; how many bytes came.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        content: Content,
    ) -> Result<u64> {
        let mut request = Request::builder().method(method);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        // Where it goes stands in one place: twice, nginx refuses it.
        request = match connection {
            Connection::Http1(_) => request.uri(path).header("host", self.address.to_string()),
            Connection::Http2(_) => request.uri(format!("https://{}{path}", self.address)),
        };
        let answer = connection.exchange(request.body(content)?).await;
        answer.with_context(|| format!("{method} {path} of {}", self.name))
    }
}

/// A connection that is kept.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Content>),
    Http2(http2::SendRequest<Content>),
}

/// As browsers announce it: with less, what is measured is the wait for updates of the window.
const STREAM_WINDOW_BYTES: u32 = 6 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 15 << 20;

impl Connection {
    async fn begin<S>(stream: S, version: Version) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        match version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Ok(Self::Http1(sender))
            }
            Version::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .handshake(stream)
                    .await?;
                tokio::spawn(connection);
                Ok(Self::Http2(sender))
            }
        }
    }

    async fn exchange(&mut self, request: Request<Content>) -> Result<u64> {
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => sender.send_request(request).await?,
        };
        if answer.status() != 200 {
            bail!("answered with {}", answer.status());
        }
        read(answer).await
    }
}

async fn read(answer: Response<Incoming>) -> Result<u64> {
    let mut body = answer.into_body();
    let mut bytes = 0;
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}
