//! New connections into guests: the stream, TLS if the application uses it, and the HTTP handshake.

use std::sync::Arc;
use std::time::Duration;

use http::Version;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::SendError;
use crate::backend::{Backend, Stream};
use crate::id::MicrovmId;
use crate::pool::Wire;
use crate::settings::Settings;
use crate::upload::Upload;

/// How long a TLS probe of a port may take. It is local, so only a server that waits for more bytes (a line end, say)
/// takes long, and such a server does not speak TLS.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// Opens connections into guests.
pub(crate) struct Dialer {
    backend: Arc<dyn Backend>,
    tls_h1: TlsConnector,
    tls_h2: TlsConnector,
    open_time: Duration,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
    /// Heads of answers have the same limits as heads of requests.
    max_head_bytes: usize,
    max_headers: usize,
}

impl Dialer {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        settings: &Settings,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            backend,
            tls_h1: connector(b"http/1.1")?,
            tls_h2: connector(b"h2")?,
            open_time: settings.open_time,
            stream_window_bytes: settings.stream_window_bytes,
            connection_window_bytes: settings.connection_window_bytes,
            max_head_bytes: settings.max_head_bytes,
            max_headers: settings.max_headers,
        })
    }

    /// A stream to the application, with TLS or without.
    pub(super) async fn open(
        &self,
        microvm: MicrovmId,
        port: u16,
        wire: Wire,
        version: Version,
    ) -> Result<Box<dyn Stream>, SendError> {
        let opening = async {
            let stream = self
                .backend
                .open(microvm, port)
                .await
                .map_err(|source| SendError::Open { source, body: None })?;
            if wire == Wire::Plain {
                return Ok(stream);
            }
            let tls = if version == Version::HTTP_2 {
                &self.tls_h2
            } else {
                &self.tls_h1
            };
            let stream = tls
                .connect(guest_name(), stream)
                .await
                .map_err(SendError::Tls)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        let result = tokio::time::timeout(self.open_time, opening).await;
        result.unwrap_or(Err(SendError::Timeout))
    }

    /// Whether a port answers a TLS handshake.
    pub(super) async fn speaks_tls(&self, microvm: MicrovmId, port: u16) -> bool {
        let opening = self.open(microvm, port, Wire::Tls, Version::HTTP_11);
        matches!(tokio::time::timeout(PROBE_TIME, opening).await, Ok(Ok(_)))
    }

    pub(super) async fn http1(
        &self,
        stream: Box<dyn Stream>,
    ) -> Result<http1::SendRequest<Upload>, hyper::Error> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.max_head_bytes)
            .max_headers(self.max_headers)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async move {
            // The request's own future gets the error. There is nothing to do with it here.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    pub(super) async fn http2(
        &self,
        stream: Box<dyn Stream>,
    ) -> Result<http2::SendRequest<Upload>, hyper::Error> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .max_header_list_size(u32::try_from(self.max_head_bytes).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// A placeholder name: the application's certificate is not checked.
fn guest_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into())
}

fn connector(protocol: &[u8]) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Accepts any certificate of the application. The stream leads into one guest and nowhere else, so it cannot be
/// intercepted. TLS is only spoken because the application requires it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
