//! The path of a request: identify, route, authenticate, dispatch, record.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use hearth_control::Refusal;
use hearth_control::arn::Scope;
use hearth_control::id::{AccountId, Region};
use hearth_control::throttle::Rate;
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::audit::{AuditLog, Entry};
use crate::body::{BodyError, BodyReader, MAX_BODY_BYTES, MAX_CODE_BODY_BYTES, ReadBody, Sender};
use crate::call::{Call, CallOrigin, Upload};
use crate::fault::{Fault, SignatureCodes};
use crate::functions::code_location;
use crate::guest::{Guest, Metadata};
use crate::iam::Iam;
use crate::identity::{Caller, Identities, Principal};
use crate::lambda::{self, Lambda};
use crate::logs::Logs;
use crate::metrics::FrontMetrics;
use crate::operations::{self, Operations};
use crate::operator::Operator;
use crate::route::Service;
use crate::s3::{self, S3, access_key};
use crate::sigv4::{BodyClaim, SignatureError, Signed};
use crate::wire::json::Family;
use crate::wire::{Label, Reply, json, query};
use crate::{iam, invocations, sts};

/// The front: all services behind the listener.
pub struct Front {
    pub(crate) region: Region,
    pub(crate) identities: Identities,
    pub(crate) bodies: BodyReader,
    pub(crate) lambda: Lambda,
    pub(crate) operations: Operations,
    pub(crate) logs: Logs,
    pub(crate) iam: Iam,
    pub(crate) s3: S3,
    pub(crate) operator: Operator,
    pub(crate) metadata: Metadata,
    pub(crate) metrics: FrontMetrics,
    pub(crate) audit: AuditLog,
}

impl Front {
    /// Answers one request. Every error is an answer, too.
    pub(crate) async fn handle(&self, origin: CallOrigin, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let request_id = Uuid::new_v4().to_string();
        let (head, body) = request.into_parts();
        let service = Service::of(&head);
        let mut entry = entry(origin, &request_id, service, &head);
        let family = lambda::family(&head);
        let answering = self.dispatch(origin, service, &request_id, head, body);
        // Unwind safe: what requests share is behind locks that hold no half-done change, or behind transactions.
        let answered = AssertUnwindSafe(answering).catch_unwind().await;
        let mut reply = answered.unwrap_or_else(|_| panicked(service, family, &request_id));
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            let name = if service == Service::S3 {
                "x-amz-request-id"
            } else {
                "x-amzn-requestid"
            };
            reply.headers_mut().insert(name, value);
        }
        let label = reply
            .extensions()
            .get::<Label>()
            .copied()
            .unwrap_or_default();
        let status = reply.status().as_u16();
        let elapsed = started.elapsed();
        self.metrics
            .observe(service.name(), label.operation, status, elapsed);
        if service != Service::Operator {
            let caller = reply.extensions().get::<Caller>();
            entry.account = caller.map(|caller| caller.scope.account.to_string());
            entry.operation = label.operation;
            entry.status = status;
            entry.error = label.error;
            entry.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.audit.record(&entry).await;
        }
        reply
    }

    async fn dispatch(
        &self,
        origin: CallOrigin,
        service: Service,
        request_id: &str,
        head: Parts,
        body: Incoming,
    ) -> Reply {
        if origin.guest().is_some() && !Guest::may_ask(service) {
            let fault = Fault::access_denied(Guest::CLOSED);
            return refuse(service, request_id, &fault);
        }
        match service {
            Service::Operator => return self.operator.answer(&head).await,
            Service::FunctionCode => {
                let lambda = &self.lambda;
                return code_location::answer(&lambda.functions, &lambda.pages, &head).await;
            }
            Service::S3 => {
                let (mut reply, signer) = self.s3.answer(origin, request_id, head, body).await;
                if let Some(signer) = signer {
                    let scope = Scope {
                        account: signer.account,
                        region: self.region.clone(),
                    };
                    reply.extensions_mut().insert(Caller {
                        scope,
                        principal: signer.principal,
                    });
                }
                return reply;
            }
            _ => {}
        }
        let verified = match self.authenticate(service, &head, body).await {
            Ok(verified) => verified,
            Err(fault) => return refuse(service, request_id, &fault),
        };
        let Verified { caller, content } = verified;
        let mut reply = match self.admit(origin, service, &caller, &content) {
            Err(fault) => refuse(service, request_id, &fault),
            Ok(()) => {
                let (body, place, upload) = match content {
                    Content::Read(body, place) => (body, place, None),
                    Content::Upload(upload) => (Bytes::new(), None, Some(upload)),
                };
                let call = Call {
                    caller: caller.clone(),
                    origin,
                    request_id: request_id.to_owned(),
                    head,
                    body,
                    place,
                    upload,
                };
                self.perform(service, call).await
            }
        };
        reply.extensions_mut().insert(caller);
        reply
    }

    async fn perform(&self, service: Service, call: Call) -> Reply {
        match service {
            Service::Lambda => self.lambda.answer(call).await,
            Service::Hearth => self.operations.answer(call).await,
            Service::Logs => self.logs.answer(call).await,
            Service::Sts => sts::answer(&call, &self.identities).await,
            _ => self.iam.answer(&call).await,
        }
    }

    /// Verifies the signature. Reading a body costs memory, which an attacker could use: if the head states the hash
    /// of the body, the head is verified first. Else the body is read if the access key is known and the time
    /// plausible, within the memory share of unverified requests. An upload with a stated hash is not read here.
    async fn authenticate(
        &self,
        service: Service,
        head: &Parts,
        body: Incoming,
    ) -> Result<Verified, Fault> {
        let refuse = |error: SignatureError| signature_codes(service).fault(&error);
        let signed = Signed::parse(head).map_err(refuse)?;
        signed.check_time(Timestamp::now()).map_err(refuse)?;
        if signed.scope.service != service.signing_name() {
            return Err(refuse(SignatureError::Scope));
        }
        let token = signed.session_token.as_deref();
        let key = self.identities.find(&signed.access_key, token).await;
        let key = key.map_err(refuse)?;
        let is_upload = is_upload(service, head);
        let claim = match signed.claim() {
            // An unsigned body that nobody hashes could be exchanged on its way.
            Some(BodyClaim::Unsigned) if !is_upload => {
                return Err(refuse(SignatureError::Mismatch));
            }
            claim => claim,
        };
        if let Some(claim) = &claim {
            let verified = signed.verify_head(head, claim, &key.secret);
            verified.map_err(refuse)?;
        }
        let sender = Sender {
            account: key.account,
            is_verified: claim.is_some(),
        };
        let content = match claim {
            Some(claim) if is_upload => Content::Upload(Upload { body, claim }),
            claim => {
                self.has_room(service, head, key.account)?;
                let read = self.read_body(service, sender, head, body).await?;
                let (body, place) = (read.bytes, read.place);
                match claim {
                    // The head is verified already, and what it states of the body with it.
                    Some(claim) if claim.holds(&Sha256::digest(&body)) => {}
                    Some(_) => return Err(refuse(SignatureError::Mismatch)),
                    None => signed.verify(head, &body, &key.secret).map_err(refuse)?,
                }
                Content::Read(body, place)
            }
        };
        let region = signed.scope.region.parse().map_err(|_| {
            if service.is_regional() {
                elsewhere()
            } else {
                refuse(SignatureError::Scope)
            }
        })?;
        let scope = Scope {
            account: key.account,
            region,
        };
        let principal = key.principal;
        Ok(Verified {
            caller: Caller { scope, principal },
            content,
        })
    }

    /// Reads a body. Operations with code take larger ones than others.
    async fn read_body(
        &self,
        service: Service,
        sender: Sender,
        head: &Parts,
        body: Incoming,
    ) -> Result<ReadBody, Fault> {
        let with_code = match service {
            Service::Lambda => lambda::operation_with_code(head),
            _ => None,
        };
        if let Some(operation) = with_code {
            let read = self.bodies.read_code(sender, &head.headers, body).await;
            return read.map_err(|error| body_fault(error, MAX_CODE_BODY_BYTES, operation));
        }
        let read = self.bodies.read(sender, &head.headers, body).await;
        let read = read.map_err(|error| match error {
            BodyError::TooLarge if service == Service::Lambda => invocations::too_large(head)
                .unwrap_or_else(|| body_fault(error, MAX_BODY_BYTES, "")),
            error => body_fault(error, MAX_BODY_BYTES, ""),
        });
        Ok(ReadBody {
            bytes: read?,
            place: None,
        })
    }

    /// Refuses a request of an account that is beyond its rate before its body costs anything. Nothing is counted yet: the head
    /// may not be verified, and nobody else can bring the account beyond its rate.
    fn has_room(&self, service: Service, head: &Parts, account: AccountId) -> Result<(), Fault> {
        let room = self
            .identities
            .control
            .throttle_by(account, Rate::Request, 0);
        room.map_err(|refusal| throttled(service, &refusal))?;
        match service {
            Service::Logs => self.logs.has_room(head, account),
            _ => Ok(()),
        }
    }

    /// Whether a verified caller may ask this service, from where it asks and at its rate.
    fn admit(
        &self,
        origin: CallOrigin,
        service: Service,
        caller: &Caller,
        content: &Content,
    ) -> Result<(), Fault> {
        if service.is_regional() && caller.scope.region != self.region {
            return Err(elsewhere());
        }
        match origin.guest() {
            Some(guest) if guest.account != caller.scope.account => {
                return Err(Fault::access_denied(Guest::FOREIGN));
            }
            // The guest door has counted the request as one.
            Some(_) => self.count(service, caller, Rate::FromGuest, content.calls() - 1)?,
            None => self.count(service, caller, Rate::Request, content.calls())?,
        }
        if matches!(caller.principal, Principal::Role(_)) && !may_roles_ask(service) {
            return Err(Fault::access_denied(ROLE_CLOSED));
        }
        Ok(())
    }

    fn count(
        &self,
        service: Service,
        caller: &Caller,
        rate: Rate,
        calls: u32,
    ) -> Result<(), Fault> {
        let counted = self
            .identities
            .control
            .throttle_by(caller.scope.account, rate, calls);
        counted.map_err(|refusal| throttled(service, &refusal))
    }
}

/// A request counts as one call for so many bytes of its body and one more for each further so many: to hash and to parse them
/// costs what small calls cost. Of the largest body an account may send five a second, and ten at once.
const BYTES_OF_A_CALL: usize = 64 << 10;

/// A request whose signature has been verified.
struct Verified {
    caller: Caller,
    content: Content,
}

/// The body of a request.
enum Content {
    /// Read, with the place of a large one.
    Read(Bytes, Option<OwnedSemaphorePermit>),
    Upload(Upload),
}

impl Content {
    /// How many calls it counts as, at least one. An upload is not kept whole, and counts as one.
    fn calls(&self) -> u32 {
        match self {
            Self::Read(body, _) => {
                // Of larger ones, which have code, there is one at a time.
                let bytes = body.len().min(MAX_BODY_BYTES);
                u32::try_from(bytes.div_ceil(BYTES_OF_A_CALL).max(1)).unwrap_or(u32::MAX)
            }
            Self::Upload(_) => 1,
        }
    }
}

/// The answer of AWS in a region that does not offer the service (facts section 1).
fn elsewhere() -> Fault {
    Fault::silent(403, "AccessDeniedException")
}

/// Too many requests of one account, in the form of each service.
fn throttled(service: Service, refusal: &Refusal) -> Fault {
    let (status, code) = match service {
        Service::Iam | Service::Sts => (400, "Throttling"),
        Service::Logs => (400, "ThrottlingException"),
        _ => (429, "ThrottlingException"),
    };
    let retry_after = match refusal {
        Refusal::Throttled { retry_after } => *retry_after,
        _ => Duration::ZERO,
    };
    Fault::rate_exceeded(status, code, retry_after)
}

/// Whether policies have actions for a service. Roles cannot ask the other services.
fn may_roles_ask(service: Service) -> bool {
    !matches!(
        service,
        Service::Hearth | Service::Iam | Service::Operator | Service::FunctionCode
    )
}

const ROLE_CLOSED: &str = "Credentials of a role cannot do this; use an access key of the account.";

fn is_upload(service: Service, head: &Parts) -> bool {
    service == Service::Hearth && operations::is_upload(head)
}

fn signature_codes(service: Service) -> SignatureCodes {
    match service {
        Service::Sts | Service::Iam => SignatureCodes::Query,
        _ => SignatureCodes::Json,
    }
}

/// A refusal before the operation is known, in the form of the service.
fn refuse(service: Service, request_id: &str, fault: &Fault) -> Reply {
    match service {
        Service::Logs => json::rpc_fault(fault),
        Service::Sts => query::fault(sts::NAMESPACE, request_id, fault),
        Service::Iam => query::fault(iam::NAMESPACE, request_id, fault),
        _ => json::rest_fault(json::Family::Microvms, fault),
    }
}

/// The answer to a request whose handler panicked. The panic hook has logged where.
fn panicked(service: Service, family: Family, request_id: &str) -> Reply {
    let (code, text) = match service {
        Service::S3 => return s3::internal_error(),
        Service::Lambda => return json::rest_fault(family, &lambda::refusal::internal(family)),
        Service::Logs => (
            "ServiceUnavailableException",
            "The service cannot complete the request.",
        ),
        _ => (
            "InternalFailure",
            "The service encountered an internal error.",
        ),
    };
    refuse(service, request_id, &Fault::new(500, code, text))
}

/// `operation` is empty where no operation has a limit of its own.
fn body_fault(error: BodyError, limit_bytes: usize, operation: &str) -> Fault {
    match error {
        BodyError::TooLarge => Fault::new(
            413,
            "RequestEntityTooLargeException",
            match operation {
                "" => format!("Request must be smaller than {limit_bytes} bytes for the operation"),
                operation => format!(
                    "Request must be smaller than {limit_bytes} bytes for the {operation} operation"
                ),
            },
        ),
        BodyError::TooSlow => Fault::new(
            408,
            "RequestTimeoutException",
            "The request body did not arrive in time.",
        ),
        BodyError::Broken => Fault::unparseable(),
    }
}

fn entry(origin: CallOrigin, request_id: &str, service: Service, head: &Parts) -> Entry {
    Entry {
        time: Timestamp::now().to_string(),
        request_id: request_id.to_owned(),
        source: origin.to_string(),
        account: None,
        access_key: access_key(head).map(|access_key| shorten(&access_key)),
        service: service.name(),
        operation: None,
        method: shorten(head.method.as_str()),
        // Without the query: that of a presigned request has a signature that still works.
        path: shorten(head.uri.path()),
        status: 0,
        error: None,
        elapsed_ms: 0,
    }
}

/// The longest text that a client can write into one field of the audit log.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 512;
    text.chars().take(MAX_CHARS).collect()
}
