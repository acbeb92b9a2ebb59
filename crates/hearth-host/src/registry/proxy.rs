//! The side of the proxy that faces a builder microVM: filters and limits its requests.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use hearth_image::RegistryProxy;
use hearth_node::{ServiceListener, service_of, with_causes};
use hearth_wire::service::Service;
use http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::RegistryLogin;
use super::path::{Content, Wanted};
use super::upstream::{Ask, Upstream, UpstreamError};

/// Streams of one builder at one time; more wait in the backlog. buildah pulls six layers at once.
pub(super) const MAX_STREAMS: usize = 16;

/// Most bytes that one builder may read: its work disk (8 GiB) holds no more, packed or not.
pub(super) const MAX_BYTES: u64 = 8 << 30;

/// Largest head of a request. buildah's have less than 1 KiB.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long a head may take, and how long a connection may be idle.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Longest wait for the next piece of a body. One that comes more slowly does not come.
const PIECE_TIME: Duration = Duration::from_secs(60);

/// Names what a manifest is, whatever its tag said.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Says that this is a registry.
const API_VERSION: (&str, &str) = ("docker-distribution-api-version", "registry/2.0");

/// Headers of requests that are passed on. No `authorization`: the guest has no login.
static REQUEST_HEADERS: [HeaderName; 2] = [ACCEPT, RANGE];

/// Headers of answers that are passed on. No `www-authenticate`, `location` or `set-cookie`.
static ANSWER_HEADERS: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ACCEPT_RANGES,
    CONTENT_DIGEST,
];

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A proxy to registries for one build.
#[derive(Debug)]
pub(super) struct Proxy {
    registries: Vec<String>,
    /// The logins of these registries, in the same order.
    logins: Vec<RegistryLogin>,
    upstream: Upstream,
    /// Bytes that may still be read.
    left_bytes: Arc<AtomicU64>,
}

impl RegistryProxy for Proxy {
    fn registries(&self) -> &[String] {
        &self.registries
    }

    fn serve(
        self: Arc<Self>,
        listener: ServiceListener,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.accept(listener))
    }
}

impl Proxy {
    /// Reads at most `limit_bytes` with these logins.
    pub(super) fn new(logins: Vec<RegistryLogin>, upstream: Upstream, limit_bytes: u64) -> Self {
        Self {
            registries: logins.iter().map(|login| login.registry.clone()).collect(),
            logins,
            upstream,
            left_bytes: Arc::new(AtomicU64::new(limit_bytes)),
        }
    }

    async fn accept(self: Arc<Self>, listener: ServiceListener) {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        // Dropped with this future, and what runs in it.
        let mut served = JoinSet::new();
        loop {
            let Ok(slot) = Arc::clone(&streams).acquire_owned().await else {
                return;
            };
            let stream = listener.accept().await;
            while served.try_join_next().is_some() {}
            let proxy = Arc::clone(&self);
            served.spawn(async move {
                proxy.serve_stream(stream).await;
                drop(slot);
            });
        }
    }

    async fn serve_stream(self: Arc<Self>, mut stream: UnixStream) {
        if service_of(&mut stream).await != Some(Service::Registries) {
            return;
        }
        let answer = service_fn(|request| {
            let proxy = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(proxy.answer(request).await) }
        });
        // A stream that breaks concerns only the guest, which sees it break.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD)
            || !request.body().is_end_stream()
        {
            let said = "builds may read images and nothing else";
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", said);
        }
        let wanted = match request.uri().query() {
            None => Wanted::parse(request.uri().path()),
            Some(_) => None,
        };
        match wanted {
            Some(Wanted::Version) => is_a_registry(),
            Some(Wanted::Content(content)) => self.pass_on(&request, &content).await,
            None => {
                let said = "builds may read manifests and blobs and nothing else";
                refusal(StatusCode::NOT_FOUND, "UNSUPPORTED", said)
            }
        }
    }

    async fn pass_on(&self, request: &Request<Incoming>, content: &Content<'_>) -> Answer {
        let Some(login) = self.logins.get(content.registry) else {
            let said = "this account has no login for such a registry";
            return refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", said);
        };
        if !login.allows(content.repository) {
            let said = format!(
                "requested access to {}/{} is not among registries.credentials.NAME.repositories of this account",
                login.registry, content.repository
            );
            return refusal(StatusCode::FORBIDDEN, "DENIED", &said);
        }
        let ask = Ask {
            registry: content.registry,
            login,
            repository: content.repository,
            path: content.path(),
            method: request.method().clone(),
            headers: among(request.headers(), &REQUEST_HEADERS),
        };
        match self.upstream.ask(&ask).await {
            Ok(answer) => self.hand_on(answer),
            // buildah shows the words of a refusal, and of a failing server only its status.
            Err(error @ UpstreamError::LoginRefused(_)) => refusal(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                &with_causes(&error),
            ),
            Err(error) => refusal(StatusCode::FORBIDDEN, "DENIED", &with_causes(&error)),
        }
    }

    fn hand_on(&self, answer: Response<Incoming>) -> Answer {
        let (head, body) = answer.into_parts();
        let mut handed = Response::new(bounded(body, Arc::clone(&self.left_bytes)));
        *handed.status_mut() = head.status;
        *handed.headers_mut() = among(&head.headers, &ANSWER_HEADERS);
        handed
    }
}

/// The headers with these names.
fn among(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut chosen = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            chosen.append(name, value.clone());
        }
    }
    chosen
}

/// A body that ends with an error when it would be too much, or takes too long.
fn bounded(body: Incoming, left_bytes: Arc<AtomicU64>) -> UnsyncBoxBody<Bytes, io::Error> {
    let pieces = unfold(Some(body), move |body| {
        let left_bytes = Arc::clone(&left_bytes);
        async move {
            let mut body = body?;
            let piece = match timeout(PIECE_TIME, body.frame()).await {
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
                Ok(None) => return None,
                Ok(Some(Err(error))) => Err(io::Error::other(error)),
                // Trailers are nothing that a registry has.
                Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
            };
            let piece = piece.and_then(|piece| take(&left_bytes, piece));
            Some(match piece {
                Ok(piece) => (Ok(Frame::data(piece)), Some(body)),
                Err(error) => (Err(error), None),
            })
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn take(left_bytes: &AtomicU64, piece: Bytes) -> io::Result<Bytes> {
    let take = |left: u64| left.checked_sub(piece.len() as u64);
    match left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
        Ok(_) => Ok(piece),
        Err(_) => Err(io::ErrorKind::QuotaExceeded.into()),
    }
}

fn is_a_registry() -> Answer {
    let mut answer = json(StatusCode::OK, &serde_json::json!({}));
    let (name, value) = API_VERSION;
    let value = http::HeaderValue::from_static(value);
    answer.headers_mut().insert(name, value);
    answer
}

/// A refusal as registries word it.
fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let error = serde_json::json!({ "code": code, "message": message });
    json(status, &serde_json::json!({ "errors": [error] }))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string()));
    let mut answer = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
