//! The path of one request.
//!
//! ```text
//! route -> authenticate -> admit -> wake -> shell or application -> answer
//! ```
//!
//! Nothing is done with the microVM before the token is checked: an unauthenticated request cannot even resume it. The
//! one exception are CORS preflights ([`crate::preflight`]), where the microVM's connectors allow them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::header::{EXPECT, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use crate::backend::{Microvm, OpenError, State};
use crate::client::Client;
use crate::credentials::{BASE_SUBPROTOCOL, Credentials, DEFAULT_PORT};
use crate::download::Download;
use crate::headers;
use crate::id::EndpointId;
use crate::meter::Metered;
use crate::per_microvm::PerMicrovm;
use crate::pool::PortKey;
use crate::preflight;
use crate::reason::NoAnswer;
use crate::relay::relay;
use crate::reply::{Refusal, RequestId};
use crate::routing::authority;
use crate::shared::Shared;
use crate::shell;
use crate::token::{Access, VerifyError};
use crate::traffic::Direction;
use crate::upload::{Gate, Upload};
use crate::upstream::{Answer, SendError, Upstream};

/// How long to wait for `100 Continue` from an application that does not send it (RFC 9110 section 10.1.1 leaves the
/// time open; curl waits as long).
const CONSENT_TIME: Duration = Duration::from_secs(1);

/// Where a request goes in its microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Port(u16),
    Shell,
}

/// The microVM of a request, with its state at the time of the look-up.
struct Addressee {
    endpoint: EndpointId,
    microvm: Microvm,
}

/// Answers one request of a client.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Response<Download> {
    let id = RequestId::generate();
    let in_flight = client.begin();
    let exchange = Exchange {
        shared: &shared,
        client: &client,
        id: &id,
        has_waited: AtomicBool::new(false),
    };
    let has_origin = request.headers().contains_key(ORIGIN);
    match exchange.serve(request).await {
        Ok(response) => response.map(|body| body.holding(in_flight)),
        Err(refusal) => refusal.response(&id, has_origin).map(Download::Own),
    }
}

struct Exchange<'a> {
    shared: &'a Arc<Shared>,
    client: &'a Arc<Client>,
    id: &'a RequestId,
    /// Whether the request had to wait for a resume.
    has_waited: AtomicBool,
}

impl Exchange<'_> {
    async fn serve(&self, mut request: Request<Incoming>) -> Result<Response<Download>, Refusal> {
        if self.client.is_malformed() || request.method() == Method::CONNECT {
            return Err(Refusal::Malformed);
        }
        let authority = authority(request.uri(), request.headers())?;
        if preflight::is_preflight(&request) {
            let preflight = preflight::Preflight {
                shared: self.shared,
                client: self.client,
                id: self.id,
            };
            return preflight.serve(request, authority).await;
        }
        let upgrade = headers::wanted_upgrade(request.version(), request.headers())
            .filter(is_forwarded_upgrade);
        let is_websocket = upgrade
            .as_ref()
            .is_some_and(|to| headers::is_websocket(request.method(), to));
        let credentials = Credentials::take(request.headers_mut(), is_websocket);
        let (addressee, target) = self.authenticate(&credentials, authority.as_ref()).await?;

        let Addressee { endpoint, microvm } = addressee;
        let per_microvm = self.shared.microvms.of(&microvm);
        self.client.admit(&per_microvm).await?;
        per_microvm.admit_request().await?;
        let microvm = self.awake(endpoint, microvm).await?;
        // Heads count as bytes: a microVM that gets only small requests is not idle. The first body pays for them in
        // the rate.
        per_microvm
            .traffic
            .pass(Direction::Up, head_bytes(request.headers()));
        match target {
            Target::Shell => {
                let shell = shell::ShellClient {
                    backend: Arc::clone(&self.shared.backend),
                    client: Arc::clone(self.client),
                    per_microvm,
                };
                shell
                    .open(request, is_websocket, credentials.offered_base, self.id)
                    .await
            }
            Target::Port(port) => {
                let addressee = Addressee { endpoint, microvm };
                let passage = Passage {
                    authority,
                    upgrade,
                    credentials,
                    port,
                };
                self.forward(request, passage, addressee, per_microvm).await
            }
        }
    }

    /// What the token gives access to. If it is invalid, the client does not learn why.
    async fn authenticate(
        &self,
        credentials: &Credentials,
        authority: Option<&Authority>,
    ) -> Result<(Addressee, Target), Refusal> {
        let token = credentials.token()?;
        let grant =
            self.shared
                .keys
                .verify(token, SystemTime::now())
                .map_err(|error| match error {
                    VerifyError::Unparseable => Refusal::MissingAuthentication,
                    VerifyError::UnknownKey | VerifyError::Altered | VerifyError::Expired => {
                        Refusal::AuthenticationFailed
                    }
                })?;
        let endpoint = self.client.endpoint(authority)?;
        let found = self.shared.backend.find(endpoint).await;
        let microvm = found
            .filter(|microvm| microvm.id == grant.microvm)
            .ok_or(Refusal::AuthenticationFailed)?;
        let target = target(&grant.access, &microvm, credentials)?;
        Ok((Addressee { endpoint, microvm }, target))
    }

    /// Resumes a suspended microVM if traffic may. Returns its state then.
    async fn awake(&self, endpoint: EndpointId, microvm: Microvm) -> Result<Microvm, Refusal> {
        match microvm.state {
            State::Running => Ok(microvm),
            State::Suspended if microvm.auto_resume => {
                self.shared.resumes.wait(microvm.id).await?;
                self.has_waited.store(true, Ordering::Relaxed);
                let woken = self.shared.backend.find(endpoint).await;
                woken
                    .filter(|woken| woken.state == State::Running)
                    .ok_or(Refusal::BadGateway(NoAnswer::NotResumed))
            }
            State::Pending => Err(Refusal::BadGateway(NoAnswer::Pending)),
            State::Suspended => Err(Refusal::BadGateway(NoAnswer::Suspended)),
            State::Ended => Err(Refusal::BadGateway(NoAnswer::Ended)),
        }
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        passage: Passage,
        addressee: Addressee,
        per_microvm: Arc<PerMicrovm>,
    ) -> Result<Response<Download>, Refusal> {
        // Taken before the head is rewritten: hyper keeps the client's side of an upgrade in the extensions.
        let on_client = passage
            .upgrade
            .is_some()
            .then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let (parts, body) = self.outgoing(parts, body, &passage, &per_microvm)?;
        let microvm = addressee.microvm.id;
        let answer = self
            .send(parts, body, passage.port, addressee, &per_microvm)
            .await?;
        if self.has_waited.load(Ordering::Relaxed) {
            self.shared.backend.first_byte(microvm);
        }
        self.answer(answer, on_client, &passage, per_microvm)
    }

    /// The request as the application gets it.
    fn outgoing(
        &self,
        mut parts: Parts,
        body: Incoming,
        passage: &Passage,
        per_microvm: &Arc<PerMicrovm>,
    ) -> Result<(Parts, Upload), Refusal> {
        let wants_h2 = passage.credentials.force_h2
            || (parts.version == Version::HTTP_2 && headers::is_grpc(&parts.headers));
        parts.version = match passage.upgrade {
            None if wants_h2 => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        headers::rewrite_request(&mut parts, passage.authority.clone(), self.id)?;
        if let Some(upgrade) = &passage.upgrade {
            headers::set_upgrade(&mut parts.headers, upgrade.clone());
        }
        let announced = body.size_hint().exact();
        let mut body = Metered::new(body, Arc::clone(&per_microvm.traffic), Direction::Up);
        if announced.is_some() {
            body = body.with_stall(self.shared.settings.upload_pause);
        }
        let gate = consent(&mut parts);
        let body = match announced {
            Some(0) => Upload::Empty,
            _ => Upload::Direct {
                body: Box::new(body),
                gate,
            },
        };
        Ok((parts, body))
    }

    /// Sends a request. If the microVM was suspended since the look-up, resumes it and retries once.
    async fn send(
        &self,
        parts: Parts,
        body: Upload,
        port: u16,
        addressee: Addressee,
        per_microvm: &Arc<PerMicrovm>,
    ) -> Result<Answer, Refusal> {
        let Addressee { endpoint, microvm } = addressee;
        let upstream = |epoch| Upstream {
            per_microvm: Arc::clone(per_microvm),
            key: PortKey { epoch, port },
            dialer: Arc::clone(&self.shared.dialer),
        };
        let sent = upstream(microvm.epoch).send(parts.clone(), body).await;
        let Err(SendError::Open {
            source: OpenError::Unreachable(cause),
            body: Some(body),
        }) = sent
        else {
            return sent.map_err(|error| self.unreachable(per_microvm, port, &error));
        };
        tracing::debug!(microvm = %microvm.id, port, %cause, "the guest is not reachable");
        let silent = Refusal::BadGateway(NoAnswer::GuestSilent(port));
        let found = self.shared.backend.find(endpoint).await.ok_or(silent)?;
        if found.state == State::Running && found.epoch == microvm.epoch {
            return Err(silent);
        }
        let microvm = self.awake(endpoint, found).await?;
        let sent = upstream(microvm.epoch).send(parts, body).await;
        sent.map_err(|error| self.unreachable(per_microvm, port, &error))
    }

    /// Says why the application gave no answer: to the client, and now and then to the service's log.
    fn unreachable(&self, per_microvm: &PerMicrovm, port: u16, error: &SendError) -> Refusal {
        let microvm = per_microvm.id;
        let cause = error as &dyn std::error::Error;
        if per_microvm.may_log() {
            tracing::info!(%microvm, port, error = cause, "502: the application gave no answer");
        } else {
            tracing::debug!(%microvm, port, error = cause, "502: the application gave no answer");
        }
        Refusal::BadGateway(error.reason(port, &self.shared.settings))
    }

    fn answer(
        &self,
        answer: Answer,
        on_client: Option<OnUpgrade>,
        passage: &Passage,
        per_microvm: Arc<PerMicrovm>,
    ) -> Result<Response<Download>, Refusal> {
        let Answer {
            mut response,
            connection,
        } = answer;
        let on_application = hyper::upgrade::on(&mut response);
        let (mut parts, body) = response.into_parts();
        let upgraded_to = parts.headers.get(http::header::UPGRADE).cloned();
        headers::rewrite_answer(&mut parts, self.id);
        per_microvm
            .traffic
            .pass(Direction::Down, head_bytes(&parts.headers));

        if parts.status != StatusCode::SWITCHING_PROTOCOLS {
            let body = Metered::new(body, Arc::clone(&per_microvm.traffic), Direction::Down);
            return Ok(Response::from_parts(
                parts,
                Download::forwarded(body, connection),
            ));
        }
        // An upgrade that the client did not ask for cannot be relayed.
        let on_client = on_client.ok_or(Refusal::BadGateway(NoAnswer::UnwantedUpgrade))?;
        if let Some(upgraded_to) = upgraded_to {
            headers::set_upgrade(&mut parts.headers, upgraded_to);
        }
        if passage.credentials.offered_base {
            let base = HeaderValue::from_static(BASE_SUBPROTOCOL);
            parts.headers.entry(SEC_WEBSOCKET_PROTOCOL).or_insert(base);
        }
        self.spawn_relay(on_client, on_application, per_microvm);
        Ok(Response::from_parts(parts, Download::empty()))
    }

    /// The client counts as connected until the relay ends.
    fn spawn_relay(
        &self,
        on_client: OnUpgrade,
        on_application: OnUpgrade,
        per_microvm: Arc<PerMicrovm>,
    ) {
        let client = Arc::clone(self.client);
        tokio::spawn(async move {
            if let (Ok(outer), Ok(inner)) = tokio::join!(on_client, on_application) {
                relay(TokioIo::new(outer), TokioIo::new(inner), &per_microvm).await;
            }
            drop(client);
        });
    }
}

/// What is known of a request before it is forwarded.
struct Passage {
    authority: Option<Authority>,
    upgrade: Option<HeaderValue>,
    credentials: Credentials,
    port: u16,
}

/// The kind of token decides: in a microVM without a shell, `/shell` and port 8022 belong to the application.
fn target(
    access: &Access,
    microvm: &Microvm,
    credentials: &Credentials,
) -> Result<Target, Refusal> {
    match access {
        Access::Shell if !microvm.ingress.shell => Err(Refusal::AuthenticationFailed),
        Access::Shell => match credentials.port()? {
            None | Some(shell::PORT) => Ok(Target::Shell),
            Some(_) => Err(Refusal::PortDenied),
        },
        Access::Ports(_) if !microvm.ingress.http => Err(Refusal::AuthenticationFailed),
        Access::Ports(_) => {
            let port = credentials.port()?.unwrap_or(DEFAULT_PORT);
            let is_shell = port == shell::PORT && microvm.ingress.shell;
            if is_shell || !access.opens(port) {
                return Err(Refusal::PortDenied);
            }
            Ok(Target::Port(port))
        }
    }
}

/// Clients cannot upgrade to HTTP/2: `X-aws-proxy-force-h2` selects it. If the upgrade were forwarded, the endpoint
/// could not check what follows. RFC 9110 section 7.8 lets a server ignore an upgrade.
fn is_forwarded_upgrade(to: &HeaderValue) -> bool {
    let to = to.as_bytes();
    !(to.len() >= 2 && to[..2].eq_ignore_ascii_case(b"h2"))
}

/// The wait for the application's `100 Continue`, if the client asked for it. hyper does not report it in HTTP/2, so
/// there the body follows at once.
fn consent(parts: &mut Parts) -> Option<Gate> {
    let expects = parts.headers.get(EXPECT);
    if !expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return None;
    }
    if parts.version == Version::HTTP_2 {
        parts.headers.remove(EXPECT);
        return None;
    }
    let (sender, receiver) = oneshot::channel::<()>();
    let sender = std::sync::Mutex::new(Some(sender));
    let mut carrier = Request::new(());
    hyper::ext::on_informational(&mut carrier, move |response| {
        if response.status() == StatusCode::CONTINUE {
            drop(crate::lock::lock(&sender).take());
        }
    });
    parts
        .extensions
        .extend(std::mem::take(carrier.extensions_mut()));
    Some(Box::pin(async move {
        // The sender is dropped on `100 Continue`, and at the end of the exchange.
        let _ = tokio::time::timeout(CONSENT_TIME, receiver).await;
    }))
}

fn head_bytes(headers: &HeaderMap) -> usize {
    // The request line, and for each header its colon, space and line end.
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    HOST.as_str().len() + lines.sum::<usize>()
}
