//! Connections: TCP, TLS for `https`, HTTP/1.1 over it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::ClientError;
use crate::payload::Body;

/// Longest time to connect, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long the head of an answer may take: a request to an endpoint may first have to wake its microVM.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(300);

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    is_tls: bool,
}

impl Address {
    /// The address in `http://host:port` or `https://host:port`.
    ///
    /// # Errors
    ///
    /// When it is none, or has a path or query behind it.
    pub fn of_url(url: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self {
            host: uri.host().ok_or_else(wrong)?.to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            is_tls,
        })
    }

    /// The address of an endpoint, as `RunMicrovm` answers it: a host, perhaps with a port.
    pub(crate) fn of_endpoint(endpoint: &str) -> Result<Self, ClientError> {
        Self::of_url(&format!("https://{endpoint}"))
    }

    /// The host without the brackets of an IPv6 address, which belong to the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The port, also where the URL leaves it out.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What goes into the `host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// A byte stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections. Trusts only the certificates that it was given.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Trusts the certificates in this bundle, and nothing without TLS: that is [`Address`]'s to say.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read.
    pub fn new(ca_bundle_pem: &str) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_bundle_pem.as_bytes()) {
            let certificate = certificate.map_err(|_| ClientError::Bundle)?;
            roots.add(certificate).map_err(|_| ClientError::Bundle)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| ClientError::Bundle)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Connects, with TLS where the address has it.
    pub(crate) async fn connect(&self, address: &Address) -> Result<Box<dyn Stream>, ClientError> {
        let failed = |source| ClientError::Connect {
            address: address.to_string(),
            source,
        };
        let connecting = TcpStream::connect((address.host(), address.port));
        let stream = timeout(CONNECT_TIME, connecting).await;
        let stream = stream
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        self.secure(address, stream).await
    }

    /// Makes a connection to `address` one that can be used: with TLS where the address has it.
    ///
    /// # Errors
    ///
    /// When the other side does not prove that it is that host.
    pub async fn secure(
        &self,
        address: &Address,
        stream: TcpStream,
    ) -> Result<Box<dyn Stream>, ClientError> {
        stream
            .set_nodelay(true)
            .map_err(|source| ClientError::Connect {
                address: address.to_string(),
                source,
            })?;
        if !address.is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(address.host().to_owned())
            .map_err(|_| ClientError::Address(address.to_string()))?;
        let shaken = timeout(CONNECT_TIME, self.tls.connect(name, stream)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match shaken {
            Ok(stream) => Ok(Box::new(stream)),
            Err(source) => Err(ClientError::Handshake {
                address: address.to_string(),
                source,
            }),
        }
    }

    /// Sends one request over a connection of its own. The connection ends with the answer's body.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        address: &Address,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.send_within(operation, address, request, HEAD_TIME)
            .await
    }

    /// The same for an answer whose head may take so long.
    pub(crate) async fn send_within(
        &self,
        operation: &'static str,
        address: &Address,
        request: Request<Body>,
        head_time: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let broken = |source| ClientError::Broken { operation, source };
        let stream = TokioIo::new(self.connect(address).await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        // Its errors come out of the request or the body.
        tokio::spawn(connection);
        match timeout(head_time, sender.send_request(request)).await {
            Ok(answered) => answered.map_err(broken),
            Err(_) => Err(ClientError::Silent(operation)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_without_a_path() {
        let address = Address::of_url("http://127.0.0.1:4580").unwrap();
        assert_eq!(
            (address.authority().as_str(), address.is_tls),
            ("127.0.0.1:4580", false)
        );
        let address = Address::of_endpoint("x.example.org").unwrap();
        assert_eq!(address.to_string(), "https://x.example.org");
        for wrong in ["127.0.0.1:4580", "ftp://x", "http://x/path", "", "http://"] {
            assert!(Address::of_url(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_address() {
        let connector = Connector::new("").unwrap();
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = Address::of_url(&format!("http://127.0.0.1:{port}")).unwrap();
        let Err(error) = connector.connect(&address).await else {
            panic!("somebody answered");
        };
        assert!(matches!(error, ClientError::Connect { .. }));
        assert!(error.to_string().contains(&port.to_string()));
    }
}
