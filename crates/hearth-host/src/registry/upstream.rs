//! The side of the proxy that faces registries: connections, logins, tokens, redirects.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hearth_client::{Address, ClientError, Connector, Stream, encode};
use hearth_net::Egress;
use http::header::{AUTHORIZATION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::RegistryLogin;
use super::challenge::Challenge;

/// How long finding and reaching a server may take, TLS apart, which has the same limit of its own.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a server may take to begin its answer. A registry that first copies from elsewhere takes some seconds.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// Largest head of an answer: addresses with signatures have 2 KiB.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// Largest answer of a token server: tokens have some KiB.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Redirects that are followed: to a blob store, and once more to another region of it.
const MAX_REDIRECTS: usize = 4;

/// A client of registries for one build.
#[derive(Debug)]
pub(super) struct Upstream {
    connector: Connector,
    /// The build's egress.
    egress: Egress,
    /// The last authorization that was accepted for each repository, by index of the registry and name.
    known: Mutex<HashMap<(usize, String), HeaderValue>>,
}

/// A request to a registry.
pub(super) struct Ask<'a> {
    /// Index of the registry.
    pub(super) registry: usize,
    /// The login there.
    pub(super) login: &'a RegistryLogin,
    /// The repository that is asked for.
    pub(super) repository: &'a str,
    /// The path at the registry.
    pub(super) path: String,
    /// `GET` or `HEAD`.
    pub(super) method: Method,
    /// Headers to send.
    pub(super) headers: HeaderMap,
}

/// Why a registry gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error("the build's egress connector does not lead to {0}")]
    Closed(String),
    #[error("the name of {address} cannot be resolved")]
    Resolve {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("nothing answers at {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the connection to {address} broke")]
    Broken {
        address: String,
        #[source]
        source: hyper::Error,
    },
    #[error("{0} does not answer in time")]
    Silent(String),
    #[error(
        "{0} does not take the login of this account; the operator sets it in registries.credentials"
    )]
    LoginRefused(String),
    #[error("{0} asks for a login in a way that Hearth does not know")]
    Challenge(String),
    #[error("the token server of {registry} answers with status {status}")]
    Token {
        registry: String,
        status: StatusCode,
    },
    #[error("the token server of {0} answers with no token")]
    NoToken(String),
    #[error("{0} leads to an address without TLS or to none at all")]
    Redirect(String),
    #[error("{0} leads from address to address")]
    RedirectLoop(String),
    #[error("the request cannot be put together")]
    Request(#[from] http::Error),
}

impl Upstream {
    pub(super) fn new(connector: Connector, egress: Egress) -> Self {
        Self {
            connector,
            egress,
            known: Mutex::default(),
        }
    }

    /// Sends a request to a registry, with the login if the registry asks for it. An error status is an answer, too.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, UpstreamError> {
        let key = (ask.registry, ask.repository.to_owned());
        let known = self.known().get(&key).cloned();
        let answer = self.follow(ask, known.as_ref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // Without a login until now, or with a token that has expired.
        let fresh = self.authorize(ask, answer.headers()).await?;
        let answer = self.follow(ask, Some(&fresh)).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(UpstreamError::LoginRefused(ask.login.registry.clone()));
        }
        self.known().insert(key, fresh);
        Ok(answer)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(usize, String), HeaderValue>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, and follows redirects. The login is sent only to the registry itself.
    async fn follow(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let origin = ask.login.origin();
        let mut url: Uri = format!("{origin}{}", ask.path)
            .parse()
            .map_err(http::Error::from)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = ask.headers.clone();
            let is_at_home = origin_of(&url).is_some_and(|reached| reached == origin);
            if let Some(authorization) = authorization.filter(|_| is_at_home) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let answer = self.send(&url, ask.method.clone(), headers).await?;
            if !is_redirect(answer.status()) {
                return Ok(answer);
            }
            let next = next_url(&url, answer.headers());
            let next = next.filter(|next| is_allowed(next, ask.login));
            url = next.ok_or_else(|| UpstreamError::Redirect(ask.login.registry.clone()))?;
        }
        Err(UpstreamError::RedirectLoop(ask.login.registry.clone()))
    }

    /// The authorization for the repository that a registry asks for with this answer.
    async fn authorize(
        &self,
        ask: &Ask<'_>,
        refusal: &HeaderMap,
    ) -> Result<HeaderValue, UpstreamError> {
        let login = ask.login;
        let challenge = Challenge::of(refusal);
        let challenge =
            challenge.ok_or_else(|| UpstreamError::Challenge(login.registry.clone()))?;
        let value = match challenge {
            Challenge::Basic => basic(login),
            Challenge::Bearer { realm, service } => {
                let token = self.token(ask, &realm, service.as_deref()).await?;
                format!("Bearer {token}")
            }
        };
        secret(&value, login)
    }

    /// A token for reading the repository.
    async fn token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
    ) -> Result<String, UpstreamError> {
        let login = ask.login;
        let mark = if realm.contains('?') { '&' } else { '?' };
        let scope = encode(&format!("repository:{}:pull", ask.repository));
        let mut url = format!("{realm}{mark}scope={scope}");
        if let Some(service) = service {
            url += &format!("&service={}", encode(service));
        }
        let url: Option<Uri> = url.parse().ok();
        // The password goes there.
        let url = url.filter(|url| is_allowed(url, login));
        let url = url.ok_or_else(|| UpstreamError::Challenge(login.registry.clone()))?;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, secret(&basic(login), login)?);
        let answer = self.send(&url, Method::GET, headers).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(UpstreamError::LoginRefused(login.registry.clone()));
            }
            status => {
                return Err(UpstreamError::Token {
                    registry: login.registry.clone(),
                    status,
                });
            }
        }
        let body = timeout(HEAD_TIME, Limited::new(answer, MAX_TOKEN_BYTES).collect()).await;
        let body = body.map_err(|_| UpstreamError::Silent(login.registry.clone()))?;
        let body = body.ok().map(|body| body.to_bytes());
        let token = body.and_then(|body| token_in(&body));
        token.ok_or_else(|| UpstreamError::NoToken(login.registry.clone()))
    }

    /// Sends one request over a connection of its own. The connection ends with the answer's body.
    async fn send(
        &self,
        url: &Uri,
        method: Method,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let origin = origin_of(url).unwrap_or_default();
        let address = Address::of_url(&origin)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address.authority())
            .header(USER_AGENT, concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        request.headers_mut().extend(headers);
        let broken = |source| UpstreamError::Broken {
            address: address.to_string(),
            source,
        };
        let stream = TokioIo::new(self.connect(&address).await?);
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(stream)
            .await;
        let (mut sender, connection) = shaken.map_err(broken)?;
        // Its errors come out of the request or the body.
        tokio::spawn(connection);
        match timeout(HEAD_TIME, sender.send_request(request)).await {
            Ok(answered) => answered.map_err(broken),
            Err(_) => Err(UpstreamError::Silent(address.to_string())),
        }
    }

    /// Connects to an address that the build's egress allows. The checked address is the one that is connected to.
    async fn connect(&self, address: &Address) -> Result<Box<dyn Stream>, UpstreamError> {
        let connecting = timeout(CONNECT_TIME, self.connect_tcp(address));
        let stream = connecting.await;
        let stream = stream.map_err(|_| UpstreamError::Silent(address.to_string()))??;
        Ok(self.connector.secure(address, stream).await?)
    }

    async fn connect_tcp(&self, address: &Address) -> Result<TcpStream, UpstreamError> {
        let host = address.host();
        let name = host.parse::<IpAddr>().is_err().then_some(host);
        let found = lookup_host((host, address.port())).await;
        let found = found.map_err(|source| UpstreamError::Resolve {
            address: address.to_string(),
            source,
        })?;
        let mut failure = UpstreamError::Closed(address.to_string());
        for candidate in found {
            // Guests have no IPv6.
            let SocketAddr::V4(candidate) = candidate else {
                continue;
            };
            if !self.egress.opens(name, candidate) {
                continue;
            }
            match TcpStream::connect(candidate).await {
                Ok(stream) => return Ok(stream),
                Err(source) => {
                    failure = UpstreamError::Connect {
                        address: address.to_string(),
                        source,
                    };
                }
            }
        }
        Err(failure)
    }
}

fn basic(login: &RegistryLogin) -> String {
    let pair = format!("{}:{}", login.user, login.password);
    format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair))
}

/// A header value that is marked as sensitive, so that it is not printed.
fn secret(value: &str, login: &RegistryLogin) -> Result<HeaderValue, UpstreamError> {
    // A token with a line break in it, for example.
    let unusable = |_| UpstreamError::NoToken(login.registry.clone());
    let mut value = HeaderValue::from_str(value).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token in the answer of a token server: `token`, or as OAuth 2 has it.
fn token_in(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let token = answer.get("token").or_else(|| answer.get("access_token"))?;
    Some(token.as_str()?.to_owned())
}

fn origin_of(url: &Uri) -> Option<String> {
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether a redirect to this URL is allowed: not from TLS to plain HTTP.
fn is_allowed(url: &Uri, login: &RegistryLogin) -> bool {
    let is_encrypted = url.scheme_str() == Some("https");
    let has_user = url
        .authority()
        .is_none_or(|authority| authority.as_str().contains('@'));
    (is_encrypted || login.is_plain) && !has_user
}

/// The target of a redirect: a whole address, or a path on the same server.
fn next_url(url: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let to = headers.get(LOCATION)?.to_str().ok()?;
    match to.starts_with('/') && !to.starts_with("//") {
        true => format!("{}{to}", origin_of(url)?).parse().ok(),
        false => to.parse().ok(),
    }
}
