//! Applications as they run in guests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

/// What an application speaks.
#[derive(Clone)]
pub(crate) enum Speech {
    Http1,
    Http2,
    Tls(TlsAcceptor),
}

/// Starts an application.
pub(crate) async fn start(speech: Speech) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let speech = speech.clone();
            tokio::spawn(async move {
                match speech {
                    Speech::Http1 => serve1(stream).await,
                    Speech::Http2 => serve2(stream).await,
                    Speech::Tls(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve1(stream).await;
                        }
                    }
                }
            });
        }
    });
    address
}

/// A certificate that nobody would trust.
pub(crate) fn self_signed() -> Speech {
    let own = rcgen::generate_simple_self_signed(vec!["app".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    Speech::Tls(TlsAcceptor::from(Arc::new(config)))
}

async fn serve1<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(reply(request).await) });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn serve2<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(reply(request).await) });
    let _ = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn reply(request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    match path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or((&path[1..], ""))
    {
        ("seen", _) => text(seen(&request)),
        ("mirror", _) => Response::new(request.into_body().boxed()),
        ("sink", _) => {
            let mut sum = Checksum::default();
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                frame.data_ref().into_iter().for_each(|data| sum.add(data));
            }
            text(format!("{} {:016x}", sum.bytes, sum.hash))
        }
        ("source", count) => Response::new(
            Pattern::new(count.parse().unwrap())
                .map_err(|never| match never {})
                .boxed(),
        ),
        ("trailers", _) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let body = request
                .into_body()
                .with_trailers(async { Some(Ok(trailers)) });
            let mut response = Response::new(body.boxed());
            response
                .headers_mut()
                .insert("trailer", "grpc-status".parse().unwrap());
            response
        }
        ("status", code) => {
            let mut response = text(String::new());
            *response.status_mut() = code.parse().unwrap();
            response
        }
        // Says no before it has read anything.
        ("early", _) => {
            let mut response = text("too large".into());
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
        _ => {
            let mut response = text(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

fn text(text: String) -> Reply {
    Response::new(Full::from(text).map_err(|never| match never {}).boxed())
}

/// What arrived, a line for each thing.
fn seen(request: &Request<Incoming>) -> String {
    let mut lines = vec![format!(
        "{} {} {:?}",
        request.method(),
        request.uri(),
        request.version()
    )];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    lines.join("\n")
}

/// Tells apart any two streams that differ (FNV-1a over 8-byte words, and the length).
#[derive(Default)]
pub(crate) struct Checksum {
    pub(crate) bytes: u64,
    pub(crate) hash: u64,
    rest: Vec<u8>,
}

impl Checksum {
    pub(crate) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.rest.extend_from_slice(data);
        let whole = self.rest.len() / 8 * 8;
        for word in self.rest[..whole].chunks_exact(8) {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.rest.drain(..whole);
    }
}

/// A body of so many bytes, each piece different from the last. Lengths that are a multiple of 8.
pub(crate) struct Pattern {
    at: u64,
    end: u64,
}

impl Pattern {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { at: 0, end: bytes }
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        let count = (self.end - self.at).min(32 * 1024);
        let words = (self.at / 8)..((self.at + count) / 8);
        let data: Vec<u8> = words
            .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        self.at += count;
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }
}
