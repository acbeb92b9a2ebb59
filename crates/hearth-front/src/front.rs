//! The path of a request: identify, route, authenticate, dispatch, record.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hearth_control::arn::Scope;
use hearth_control::id::Region;
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use jiff::Timestamp;
use uuid::Uuid;

use crate::audit::{AuditLog, Entry};
use crate::body::{BodyError, BodyReader};
use crate::call::{Call, Origin, Upload};
use crate::fault::{Fault, SignatureCodes};
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
use crate::sigv4::{SignatureError, Signed};
use crate::wire::json::Family;
use crate::wire::{Label, Reply, json, query};
use crate::{iam, sts};

/// The services behind the listener.
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
    /// Answers one request. Never fails: every error is an answer.
    pub(crate) async fn handle(&self, origin: Origin, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let request_id = Uuid::new_v4().to_string();
        let (head, body) = request.into_parts();
        let service = Service::of(&head);
        let mut entry = entry(origin, &request_id, service, &head);
        let family = lambda::family(&head);
        let answering = self.dispatch(origin, service, &request_id, head, body);
        // Unwind safe: what requests share is behind locks that hold no half-done change, and behind transactions.
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
        origin: Origin,
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
            Service::S3 => {
                let (mut reply, signer) = self.s3.answer(origin, head, body).await;
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
        let call = match self
            .authenticate(origin, service, request_id, head, body)
            .await
        {
            Ok(call) => call,
            Err(fault) => return refuse(service, request_id, &fault),
        };
        let caller = call.caller.clone();
        let mut reply = match service {
            Service::Lambda => self.lambda.answer(call).await,
            Service::Hearth => self.operations.answer(call).await,
            Service::Logs => self.logs.answer(call).await,
            Service::Sts => sts::answer(&call),
            _ => self.iam.answer(&call).await,
        };
        reply.extensions_mut().insert(caller);
        reply
    }

    /// Verifies the signature. The body is read only for a known key and a plausible time, since
    /// reading is what an attacker could make us pay for. An upload whose hash is stated is not read here.
    async fn authenticate(
        &self,
        origin: Origin,
        service: Service,
        request_id: &str,
        head: Parts,
        body: Incoming,
    ) -> Result<Call, Fault> {
        let refuse = |error: SignatureError| signature_codes(service).fault(&error);
        let signed = Signed::parse(&head).map_err(refuse)?;
        signed.check_time(Timestamp::now()).map_err(refuse)?;
        if signed.scope.service != service.signing_name() {
            return Err(refuse(SignatureError::Scope));
        }
        let token = signed.session_token.as_deref();
        let key = self.identities.find(&signed.access_key, token).await;
        let key = key.map_err(refuse)?;
        let claim = signed.claim().filter(|_| is_upload(service, &head));
        let (body, upload) = match claim {
            Some(claim) => {
                let verified = signed.verify_head(&head, &claim, &key.secret);
                verified.map_err(refuse)?;
                (Bytes::new(), Some(Upload { body, claim }))
            }
            None => {
                let read = self.bodies.read(&head.headers, body).await;
                let body = read.map_err(body_fault)?;
                signed.verify(&head, &body, &key.secret).map_err(refuse)?;
                (body, None)
            }
        };
        if service.is_regional() && signed.scope.region != self.region.as_str() {
            // What AWS answers where the service is not offered (facts section 1).
            return Err(Fault::silent(403, "AccessDeniedException"));
        }
        let region = signed
            .scope
            .region
            .parse()
            .map_err(|_| refuse(SignatureError::Scope))?;
        let caller = Caller {
            scope: Scope {
                account: key.account,
                region,
            },
            principal: key.principal,
        };
        if let Some(guest) = origin.guest()
            && guest.account != caller.scope.account
        {
            return Err(Fault::access_denied(Guest::FOREIGN));
        }
        if matches!(caller.principal, Principal::Role(_)) && !may_roles_ask(service) {
            return Err(Fault::access_denied(ROLE_CLOSED));
        }
        Ok(Call {
            caller,
            origin,
            request_id: request_id.to_owned(),
            head,
            body,
            upload,
        })
    }
}

/// Whether there are actions in policies for what a service does. To the others roles have no way.
fn may_roles_ask(service: Service) -> bool {
    !matches!(service, Service::Hearth | Service::Iam | Service::Operator)
}

const ROLE_CLOSED: &str =
    "Credentials of an execution role cannot do this; use an access key of the account.";

fn is_upload(service: Service, head: &Parts) -> bool {
    service == Service::Hearth && operations::is_upload(head)
}

fn signature_codes(service: Service) -> SignatureCodes {
    match service {
        Service::Sts | Service::Iam => SignatureCodes::Query,
        _ => SignatureCodes::Json,
    }
}

/// A refusal before the operation is known, in the service's own form.
fn refuse(service: Service, request_id: &str, fault: &Fault) -> Reply {
    match service {
        Service::Logs => json::rpc_fault(fault),
        Service::Sts => query::fault(sts::NAMESPACE, request_id, fault),
        Service::Iam => query::fault(iam::NAMESPACE, request_id, fault),
        _ => json::rest_fault(json::Family::Microvms, fault),
    }
}

/// The answer to a request whose handler panicked. The panic hook has told the operator where.
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

fn body_fault(error: BodyError) -> Fault {
    match error {
        BodyError::TooLarge => Fault::new(
            413,
            "RequestEntityTooLargeException",
            "Request must be smaller than 6291456 bytes for the operation",
        ),
        BodyError::TooSlow => Fault::new(
            408,
            "RequestTimeoutException",
            "The request body did not arrive in time.",
        ),
        BodyError::Broken => Fault::unparseable(),
    }
}

fn entry(origin: Origin, request_id: &str, service: Service, head: &Parts) -> Entry {
    Entry {
        time: Timestamp::now().to_string(),
        request_id: request_id.to_owned(),
        source: origin.to_string(),
        account: None,
        access_key: access_key(head).map(|access_key| shorten(&access_key)),
        service: service.name(),
        operation: None,
        method: shorten(head.method.as_str()),
        // Without the query: presigned ones carry a signature that still works.
        path: shorten(head.uri.path()),
        status: 0,
        error: None,
        elapsed_ms: 0,
    }
}

/// What a client can write into one field of the audit log.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 512;
    text.chars().take(MAX_CHARS).collect()
}
