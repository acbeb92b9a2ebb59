use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hearth_node::ServiceListener;
use hearth_wire::frame;
use hearth_wire::service::{SERVICE_VERSION, Service, ServiceOpen};
use http::header::{AUTHORIZATION, HOST, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

const USER: &str = "builder";
const PASSWORD: &str = "correct horse";

/// `builder:correct horse`.
const BASIC: &str = "Basic YnVpbGRlcjpjb3JyZWN0IGhvcnNl";

const BLOB: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A request as a server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    target: String,
    headers: HeaderMap,
}

impl Seen {
    fn authorization(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()
    }
}

/// A server on the loopback that answers by a function, and remembers what it was asked. It ends with the test's
/// runtime.
struct Server {
    authority: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Answer = Response<Full<Bytes>>;

impl Server {
    async fn start(answer: impl Fn(&str, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(answer, None).await
    }

    async fn start_with(
        answer: impl Fn(&str, &Seen) -> Answer + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (answer, seen) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let server = Self {
            authority: authority.clone(),
            seen: Arc::clone(&seen),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, seen, own) = (answer.clone(), seen.clone(), authority.clone());
                let answer = move |request: Request<Incoming>| {
                    let asked = Seen {
                        method: request.method().clone(),
                        target: request.uri().to_string(),
                        headers: request.headers().clone(),
                    };
                    let given = answer(&own, &asked);
                    seen.lock().unwrap().push(asked);
                    ready(Ok::<_, Infallible>(given))
                };
                match tls.clone() {
                    None => drop(tokio::spawn(serve(stream, answer))),
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, answer).await;
                        }
                    })),
                }
            }
        });
        server
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> Ready<Result<Answer, Infallible>>,
) {
    let serving = hyper::server::conn::http1::Builder::new();
    let serving = serving.serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client that gives up in the middle is part of some tests.
    let _ = serving.await;
}

fn answer(status: u16, headers: &[(http::HeaderName, &str)], body: &str) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(name, *value);
    }
    answer.body(Full::from(body.to_owned())).unwrap()
}

/// A registry with a token server beside it, as Docker Hub and most others are.
fn with_tokens(own: &str, asked: &Seen) -> Answer {
    if let Some(query) = asked.target.strip_prefix("/token?") {
        return match asked.authorization() == Some(BASIC) {
            true => answer(200, &[], &format!("{{\"token\": \"for {query}\"}}")),
            false => answer(401, &[], "{}"),
        };
    }
    let token = "Bearer for scope=repository%3Ateam%2Ftool%3Apull&service=fake";
    if asked.authorization() != Some(token) {
        let challenge = format!("Bearer realm=\"http://{own}/token\",service=\"fake\"");
        return answer(401, &[(WWW_AUTHENTICATE, challenge.as_str())], "{}");
    }
    match asked.target.as_str() {
        "/v2/team/tool/manifests/1.0" => answer(200, &[], "a manifest"),
        _ => answer(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
    }
}

fn login(server: &Server) -> RegistryLogin {
    RegistryLogin {
        registry: server.authority.clone(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        accounts: [AccountId::FIRST].into(),
        repositories: BTreeSet::new(),
        is_plain: true,
    }
}

/// What leads to servers on the loopback.
fn to_loopback() -> Egress {
    Egress {
        rules: vec!["127.0.0.1".parse().unwrap()],
        ..Egress::closed()
    }
}

/// A proxy, and the socket at which a builder's VMM reaches it.
struct Door {
    directory: TempDir,
    serving: JoinHandle<()>,
}

impl Door {
    fn open(proxy: Arc<dyn RegistryProxy>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = ServiceListener::bind(&directory.path().join("vsock.sock"), None).unwrap();
        let serving = tokio::spawn(proxy.serve(listener));
        Self { directory, serving }
    }

    fn to(login: RegistryLogin) -> Self {
        let logins = RegistryLogins::new(vec![login], "").unwrap();
        Self::open(logins.proxy(AccountId::FIRST, &to_loopback()).unwrap())
    }

    async fn connect(&self, service: Service) -> UnixStream {
        let path = self.directory.path().join("vsock.sock_1025");
        let mut stream = UnixStream::connect(path).await.unwrap();
        let open = ServiceOpen {
            version: SERVICE_VERSION,
            service,
        };
        let open = frame::encode(&open).unwrap();
        stream.write_all(&open).await.unwrap();
        stream
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let stream = self.connect(Service::Registries).await;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        self.ask(Method::GET, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, HeaderMap, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "x");
        let request = request.body(Full::default()).unwrap();
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (head.status, head.headers, body)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Finding H3: buildah had the password in the builder.
#[tokio::test]
async fn the_login_is_added_outside_of_the_guest() {
    let registry = Server::start(with_tokens).await;
    let door = Door::to(login(&registry));
    let (status, headers, _) = door.get("/v2/").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["docker-distribution-api-version"], "registry/2.0");
    let (status, headers, body) = door.get("/v2/r0/team/tool/manifests/1.0").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "a manifest"));
    assert!(!format!("{headers:?}").contains("for scope"), "{headers:?}");
    let (status, headers, body) = door
        .ask(Method::HEAD, "/v2/r0/team/tool/manifests/1.0")
        .await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    assert_eq!(headers["content-length"], "10");
    let (status, _, body) = door.get("/v2/r0/team/tool/manifests/2.0").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("MANIFEST_UNKNOWN"), "{body}");
    let seen = registry.seen();
    let asked: Vec<_> = seen
        .iter()
        .map(|seen| seen.target.split('?').next().unwrap())
        .collect();
    // One token serves for a repository.
    let manifest = "/v2/team/tool/manifests/1.0";
    let missing = "/v2/team/tool/manifests/2.0";
    assert_eq!(asked, [manifest, "/token", manifest, manifest, missing]);
}

#[tokio::test]
async fn a_registry_without_tokens_gets_user_and_password() {
    let registry = Server::start(|_, asked| match asked.authorization() {
        Some(BASIC) => answer(200, &[], "a manifest"),
        _ => answer(401, &[(WWW_AUTHENTICATE, "Basic realm=\"x\"")], ""),
    })
    .await;
    let (status, _, body) = Door::to(login(&registry))
        .get("/v2/r0/tool/manifests/1.0")
        .await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "a manifest"));
}

#[tokio::test]
async fn a_login_that_is_not_taken_is_told_with_its_setting() {
    let registry = Server::start(with_tokens).await;
    let wrong = RegistryLogin {
        password: "guess".to_owned(),
        ..login(&registry)
    };
    let (status, headers, body) = Door::to(wrong).get("/v2/r0/team/tool/manifests/1.0").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("registries.credentials"), "{body}");
    assert!(!headers.contains_key(WWW_AUTHENTICATE));
}

#[tokio::test]
async fn a_blob_store_sees_no_login_and_the_guest_no_address() {
    let store = Server::start(|_, _| answer(200, &[], "a blob")).await;
    let to = format!("http://{}/blob?signature=x", store.authority);
    let registry = Server::start(move |_, asked| match asked.authorization() {
        Some(BASIC) if asked.target == "/elsewhere" => answer(307, &[(LOCATION, to.as_str())], ""),
        Some(BASIC) => answer(302, &[(LOCATION, "/elsewhere")], ""),
        _ => answer(401, &[(WWW_AUTHENTICATE, "Basic")], ""),
    })
    .await;
    let path = format!("/v2/r0/team/tool/blobs/{BLOB}");
    let (status, headers, body) = Door::to(login(&registry)).get(&path).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "a blob"));
    assert!(!headers.contains_key(LOCATION));
    let [seen] = <[Seen; 1]>::try_from(store.seen()).unwrap();
    assert_eq!(seen.target, "/blob?signature=x");
    assert_eq!(seen.authorization(), None);
    assert_eq!(registry.seen().last().unwrap().authorization(), Some(BASIC));
}

#[tokio::test]
async fn redirects_end() {
    let registry = Server::start(|_, _| answer(307, &[(LOCATION, "/v2/again")], "")).await;
    let (status, _, body) = Door::to(login(&registry))
        .get("/v2/r0/tool/manifests/1.0")
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("from address to address"), "{body}");
    assert_eq!(registry.seen().len(), 5);
}

/// Finding H3: a login was a deputy that read and wrote everything for everybody.
#[tokio::test]
async fn builds_read_what_their_account_may_and_nothing_else() {
    let registry = Server::start(|_, _| answer(200, &[], "content")).await;
    let login = RegistryLogin {
        repositories: ["team".to_owned(), "other/tool".to_owned()].into(),
        ..login(&registry)
    };
    let door = Door::to(login);
    for allowed in ["team", "team/tool", "other/tool", "other/tool/x"] {
        let (status, ..) = door.get(&format!("/v2/r0/{allowed}/manifests/1.0")).await;
        assert_eq!(status, StatusCode::OK, "{allowed}");
    }
    let asked = registry.seen().len();
    for forbidden in ["teams", "other", "other/tools", "a/team"] {
        let (status, _, body) = door.get(&format!("/v2/r0/{forbidden}/manifests/1.0")).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{forbidden}");
        assert!(body.contains("requested access"), "{body}");
    }
    for path in [
        "/",
        "/v2/_catalog",
        "/v2/r1/team/manifests/1.0",
        "/v2/r0/team/../other/manifests/1.0",
        "/v2/r0/team%2f..%2fother/manifests/1.0",
        "/v2/r0/team/manifests/1.0?ns=other",
        "/v2/r0/team/tags/list",
        "/v2/r0/team/blobs/uploads/",
    ] {
        assert_eq!(door.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let (status, ..) = door.ask(method, "/v2/r0/team/manifests/1.0").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let request = Request::get("/v2/r0/team/manifests/1.0").header(HOST, "x");
    let with_body = request.body(Full::from("body")).unwrap();
    let refused = door.send(with_body).await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(registry.seen().len(), asked);
}

#[tokio::test]
async fn the_guests_headers_stay_in_the_guest() {
    let registry = Server::start(|_, _| answer(200, &[], "content")).await;
    let request = Request::get("/v2/r0/team/manifests/1.0")
        .header(HOST, "other.example.org")
        .header(AUTHORIZATION, "Bearer mine")
        .header("cookie", "a=b")
        .header("x-forwarded-for", "1.2.3.4")
        .header("accept", "application/json");
    let request = request.body(Full::default()).unwrap();
    Door::to(login(&registry)).send(request).await.unwrap();
    let [seen] = <[Seen; 1]>::try_from(registry.seen()).unwrap();
    let names: BTreeMap<_, _> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(names["host"], registry.authority);
    assert_eq!(names["accept"], "application/json");
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(seen.method, Method::GET);
}

#[tokio::test]
async fn a_login_is_no_way_around_an_egress_connector() {
    let registry = Server::start(|_, _| answer(200, &[], "content")).await;
    let logins = RegistryLogins::new(vec![login(&registry)], "").unwrap();
    for egress in [Egress::closed(), Egress::internet()] {
        let door = Door::open(logins.proxy(AccountId::FIRST, &egress).unwrap());
        let (status, _, body) = door.get("/v2/r0/team/manifests/1.0").await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        // hearth-image's `Failure` looks for these words.
        assert!(body.contains("egress connector does not lead to"), "{body}");
    }
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn a_login_is_for_the_accounts_that_it_names() {
    let registry = Server::start(with_tokens).await;
    let logins = RegistryLogins::new(vec![login(&registry)], "").unwrap();
    let other = "000000000001".parse().unwrap();
    assert!(logins.proxy(other, &to_loopback()).is_none());
    let own = logins.proxy(AccountId::FIRST, &to_loopback()).unwrap();
    assert_eq!(own.registries(), [registry.authority]);
    assert!(!format!("{logins:?} {own:?}").contains(PASSWORD));
}

#[tokio::test]
async fn other_services_are_not_served() {
    let registry = Server::start(with_tokens).await;
    let door = Door::to(login(&registry));
    let stream = door.connect(Service::Aws).await;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/v2/").header(HOST, "x");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    assert!(sender.send_request(request).await.is_err());
}

#[tokio::test]
async fn a_build_reads_so_much_and_no_more() {
    let registry = Server::start(|_, _| answer(200, &[], "0123456789")).await;
    let upstream = Upstream::new(Connector::new("").unwrap(), to_loopback());
    let door = Door::open(Arc::new(Proxy::new(vec![login(&registry)], upstream, 15)));
    let path = "/v2/r0/team/manifests/1.0";
    assert_eq!(door.get(path).await.2, "0123456789");
    let request = Request::get(path).header(HOST, "x");
    let request = request.body(Full::default()).unwrap();
    let read = match door.send(request).await {
        Ok(answer) => answer.into_body().collect().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(read.is_err());
}

#[tokio::test]
async fn streams_are_bounded() {
    let registry = Server::start(with_tokens).await;
    let door = Door::to(login(&registry));
    let mut open = Vec::new();
    for _ in 0..proxy::MAX_STREAMS {
        open.push(door.connect(Service::Registries).await);
    }
    let one_more = || tokio::time::timeout(Duration::from_millis(300), door.get("/v2/"));
    assert!(one_more().await.is_err(), "it was served");
    open.pop();
    let served = tokio::time::timeout(Duration::from_secs(10), door.get("/v2/")).await;
    assert_eq!(served.unwrap().0, StatusCode::OK);
}

/// A certificate for the loopback, and a server that shows it.
fn tls() -> (String, TlsAcceptor) {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    (own.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_registry_has_to_prove_that_it_is_one() {
    let (certificate, acceptor) = tls();
    let to_plain = Server::start(|_, _| answer(200, &[], "in the open")).await;
    let to = format!("http://{}/blob", to_plain.authority);
    let registry = Server::start_with(
        move |_, asked| match asked.target.contains("/blobs/") {
            true => answer(307, &[(LOCATION, to.as_str())], ""),
            false => answer(200, &[], "a manifest"),
        },
        Some(acceptor),
    )
    .await;
    let login = RegistryLogin {
        is_plain: false,
        ..login(&registry)
    };
    let door = |bundle: &str| {
        let logins = RegistryLogins::new(vec![login.clone()], bundle).unwrap();
        Door::open(logins.proxy(AccountId::FIRST, &to_loopback()).unwrap())
    };
    let (other, _) = tls();
    let (status, _, body) = door(&other).get("/v2/r0/tool/manifests/1.0").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("certificate"), "{body}");
    assert!(registry.seen().is_empty());
    let known = door(&certificate);
    assert_eq!(known.get("/v2/r0/tool/manifests/1.0").await.2, "a manifest");
    // Not from there to where everybody reads along.
    let (status, _, body) = known.get(&format!("/v2/r0/tool/blobs/{BLOB}")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("without TLS"), "{body}");
    assert!(to_plain.seen().is_empty());
}
