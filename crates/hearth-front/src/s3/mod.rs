//! S3: the protocol by `s3s`, the storage by `hearth-objects`.
//!
//! Each account has a service of its own over its own buckets, chosen by the access key that the request names. `s3s`
//! then verifies the signature (header, presigned, chunked) with that key's secret, so a key can never reach another
//! account's buckets. `admission.rs` refuses requests that `s3s` would accept and AWS would not. `access.rs` decides
//! what roles and guests may do.

mod access;
mod account;
mod acl;
mod admission;
mod buckets;
mod checksums;
mod chunk_limit;
mod conditions;
mod cors;
mod description;
mod encoding;
mod fault;
mod form;
mod found;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod listing;
mod memory;
mod multipart;
mod objects;
mod part_copy;
mod receive;
mod refusal;
mod rights;
mod store;
mod tags;
mod unsupported;
mod uploads;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_control::id::AccountId;
use hearth_objects::ObjectStore;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use tokio::sync::Semaphore;

use crate::blocking_calls::BlockingCalls;
use crate::call::CallOrigin;
use crate::guest::Guest;
use crate::identity::{Identities, Signer};
use crate::memory_shares::MemoryShares;
use crate::sigv4::{SignatureError, access_key_hint};
use crate::upload_body::UploadBody;
use crate::uri::query_pairs;
use crate::wire::xml::Xml;
use crate::wire::{Label, Reply, reply};
use access::Access;
#[cfg(test)]
pub(crate) use account::INPUTS as OPERATIONS;
use chunk_limit::LimitedChunks;
use found::Found;
#[cfg(test)]
pub(crate) use memory::OF_ACCOUNT_BYTES;
use memory::{Held, Memory, held_bytes};
use rights::Visit;
use store::AccountBuckets;

/// Tolerated clock skew in seconds: three times that of the other services, as on AWS.
const MAX_SKEW_S: u32 = 900;

/// Largest XML body: ten thousand parts with their checksums, or a thousand keys of the greatest length, escaped.
const MAX_XML_BYTES: usize = 4 << 20;

/// The header that tells how many tags an object has.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

/// The S3 service of all accounts.
pub(crate) struct S3 {
    identities: Identities,
    objects: Arc<ObjectStore>,
    places: Arc<BlockingCalls>,
    joins: Arc<BlockingCalls>,
    memory: Arc<Memory>,
    chunk_memory: Arc<Memory>,
    /// Places for forms that are not verified yet.
    forms: Semaphore,
    /// Where another S3 is that is used instead.
    elsewhere: Option<String>,
    region: Arc<str>,
    /// The service of each account that ever asked.
    services: Mutex<HashMap<AccountId, S3Service>>,
}

impl S3 {
    pub(crate) fn new(
        identities: Identities,
        objects: Arc<ObjectStore>,
        places: Arc<BlockingCalls>,
        elsewhere: Option<String>,
        region: &str,
        shares: &MemoryShares,
    ) -> Self {
        Self {
            identities,
            objects,
            places,
            joins: Arc::new(BlockingCalls::for_joins()),
            memory: Arc::new(Memory::new(shares.xml_bytes)),
            chunk_memory: Arc::new(Memory::new(shares.chunk_bytes)),
            forms: Semaphore::new(form::FORMS),
            elsewhere,
            region: region.into(),
            services: Mutex::default(),
        }
    }

    /// Answers one request. Also returns whose it was, if its signature was verified.
    pub(crate) async fn answer(
        &self,
        origin: CallOrigin,
        request_id: &str,
        head: Parts,
        body: Incoming,
    ) -> (Reply, Option<Signer>) {
        // The head goes away with the request: pages of other origins are told afterwards.
        let asked = head
            .headers
            .contains_key(header::ORIGIN)
            .then(|| head.clone());
        let (mut reply, signer) = if head.method == Method::OPTIONS {
            (self.preflight(&head).await, None)
        } else if admission::is_form(&head) {
            let (answered, signer) = form::answer(self, origin, &head, body).await;
            let mut reply = answered.unwrap_or_else(|error| failed(&error));
            let label = Label {
                operation: signer.is_some().then_some(form::OPERATION),
                ..Label::default()
            };
            reply.extensions_mut().insert(label);
            (reply, signer)
        } else {
            self.ask(origin, head, body).await
        };
        if let (Some(head), Some(signer)) = (asked, &signer) {
            let buckets = self.buckets(signer.account);
            cors::tell(&buckets, &head, reply.headers_mut()).await;
        }
        (with_request_id(reply, request_id).await, signer)
    }

    /// Answers a browser that asks what a page may. Whose bucket it is about says the key that the request will name.
    async fn preflight(&self, head: &Parts) -> Reply {
        let signer = match access_key(head) {
            Some(access_key) => self
                .identities
                .find(&access_key, session_token(head).as_deref())
                .await
                .ok(),
            None => None,
        };
        let Some(signer) = signer else {
            let text = "CORSResponse: only requests that are presigned can be allowed, as buckets belong to the account whose key the request names.";
            return refused(403, "AccessForbidden", text);
        };
        match cors::preflight(&self.buckets(signer.account), head).await {
            Ok(headers) => {
                let mut answer = reply(200, "application/xml", "");
                answer.headers_mut().extend(headers);
                answer
            }
            Err(error) => failed(&error),
        }
    }

    /// Has `s3s` answer a request.
    async fn ask(
        &self,
        origin: CallOrigin,
        head: Parts,
        body: Incoming,
    ) -> (Reply, Option<Signer>) {
        let now_s = jiff::Timestamp::now().as_second();
        if let Err(refusal) = admission::admit(&head, now_s) {
            return (
                refused(refusal.status, refusal.code, &refusal.message),
                None,
            );
        }
        let Some(access_key) = access_key(&head) else {
            return (denied("AccessDenied", "Access Denied"), None);
        };
        let token = session_token(&head);
        let signer = match self.identities.find(&access_key, token.as_deref()).await {
            Ok(signer) => signer,
            Err(SignatureError::ExpiredToken) => {
                return (
                    denied("ExpiredToken", "The provided token has expired."),
                    None,
                );
            }
            Err(_) => {
                let text = "The AWS Access Key Id you provided does not exist in our records.";
                return (denied("InvalidAccessKeyId", text), None);
            }
        };
        if origin
            .guest()
            .is_some_and(|guest| guest.account != signer.account)
        {
            return (denied("AccessDenied", Guest::FOREIGN), None);
        }
        if let Some(endpoint) = &self.elsewhere {
            // An empty bucket here would be misleading: builds read from the other S3.
            let text = format!("This service has no S3 of its own; builds read from {endpoint}.");
            return (refused(501, "NotImplemented", &text), None);
        }
        let held_bytes = held_bytes(&head);
        let body = UploadBody::new(body);
        let body = if chunk_limit::has_chunks(&head.headers) {
            let memory = Arc::clone(&self.chunk_memory);
            let account = signer.account.to_string();
            s3s::Body::http_body_unsync(LimitedChunks::new(body, memory, account))
        } else {
            s3s::Body::http_body_unsync(body)
        };
        let mut request = Request::from_parts(head, body);
        let found = Found::of(&mut request);
        let _held = Held::of(&mut request, held_bytes);
        request.extensions_mut().insert(Visit {
            signer: signer.clone(),
            is_guest: origin.guest().is_some(),
        });
        let mut reply = match self.service(signer.account).call(request).await {
            Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(error) => {
                tracing::error!(?error, "S3 request failed");
                internal_error()
            }
        };
        if found.operation() == Some("GetObjectAttributes") && reply.status().is_success() {
            // Here alone S3 writes a tag without its quotation marks.
            reply = rewritten(reply, "<ETag>\"", "<ETag>").await;
            reply = rewritten(reply, "\"</ETag>", "</ETag>").await;
        }
        if found.tags() > 0 && reply.status().is_success() {
            let count = HeaderValue::from(found.tags());
            reply.headers_mut().insert(TAG_COUNT, count);
        }
        let label = reply.extensions().get::<Label>().copied();
        reply.extensions_mut().insert(Label {
            operation: found.operation(),
            ..label.unwrap_or_default()
        });
        (reply, found.is_verified().then_some(signer))
    }

    fn service(&self, account: AccountId) -> S3Service {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services
            .entry(account)
            .or_insert_with(|| self.make_service(account))
            .clone()
    }

    fn buckets(&self, account: AccountId) -> AccountBuckets {
        AccountBuckets::new(
            Arc::clone(&self.objects),
            account,
            Arc::clone(&self.region),
            Arc::clone(&self.places),
            Arc::clone(&self.joins),
        )
    }

    fn make_service(&self, account: AccountId) -> S3Service {
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = MAX_SKEW_S;
        config.xml_max_body_size = MAX_XML_BYTES;
        // Never reached: `admission.rs` refuses forms.
        config.post_object_max_file_size = 0;
        config.form_max_parts = 1;
        config.form_max_field_size = 1;
        config.form_max_fields_size = 1;
        let mut builder = S3ServiceBuilder::new(self.buckets(account));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(AccountAuth {
            identities: self.identities.clone(),
            account,
        });
        builder.set_access(Access::new(
            self.identities.control.clone(),
            Arc::clone(&self.memory),
        ));
        builder.build()
    }
}

/// The access key that a request names. boto3 still presigns with version 2 if the region is `us-east-1` and nothing
/// else is configured, so that form of query is supported too.
pub(crate) fn access_key(head: &Parts) -> Option<String> {
    let version_2 = || {
        let query = head.uri.query().unwrap_or_default();
        let mut pairs = query_pairs(query);
        pairs
            .find(|(name, _)| name == "AWSAccessKeyId")
            .map(|(_, access_key)| access_key)
    };
    access_key_hint(head)
        .map(|(access_key, _)| access_key)
        .or_else(version_2)
}

/// The session token of a request: in a header, or in the query of a presigned request.
fn session_token(head: &Parts) -> Option<String> {
    const NAME: &str = "x-amz-security-token";
    if let Some(token) = head.headers.get(NAME) {
        // A token that is not a text is still a token, and an invalid one.
        return Some(token.to_str().unwrap_or_default().to_owned());
    }
    let mut pairs = query_pairs(head.uri.query().unwrap_or_default());
    pairs
        .find(|(name, _)| name.eq_ignore_ascii_case(NAME))
        .map(|(_, token)| token)
}

/// Gives `s3s` the secrets of one account's keys, and of no other's. Temporary keys of roles are not checked against
/// the account: `access.rs` compares the key that signed with the one whose session was found.
struct AccountAuth {
    identities: Identities,
    account: AccountId,
}

#[async_trait]
impl S3Auth for AccountAuth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if let Some(secret) = self.identities.secret_of_role(access_key) {
            return Ok(SecretKey::from(secret.reveal()));
        }
        match self.identities.find(access_key, None).await {
            Ok(key) if key.account == self.account => Ok(SecretKey::from(key.secret.reveal())),
            _ => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

/// The answer of an operation of ours that `s3s` does not know.
fn failed(error: &S3Error) -> Reply {
    let status = error.status_code().or_else(|| error.code().status_code());
    let body = Xml::default().element("Error", |xml| {
        xml.text("Code", error.code().as_str())
            .text("Message", error.message().unwrap_or_default())
    });
    let status = status.map_or(500, |status| status.as_u16());
    reply(status, "application/xml", body.finish())
}

/// A refusal of `admission`, for what is answered without it.
fn denied_by(refusal: &refusal::Refused) -> S3Error {
    let code = S3ErrorCode::from_bytes(refusal.code.as_bytes());
    let mut error = S3Error::with_message(
        code.unwrap_or(S3ErrorCode::InvalidRequest),
        refusal.message.clone(),
    );
    if let Ok(status) = StatusCode::from_u16(refusal.status) {
        error.set_status_code(status);
    }
    error
}

/// Names the request in the document of an error, as S3 does. Such documents are in memory already.
async fn with_request_id(answer: Reply, request_id: &str) -> Reply {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let is_document = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/xml"));
    let status = answer.status();
    if !(status.is_client_error() || status.is_server_error()) || !is_document {
        return answer;
    }
    let name = format!("<RequestId>{request_id}</RequestId></Error>");
    rewritten(answer, "</Error>", &name).await
}

/// An answer whose document is in memory already, with other words for those of `s3s`.
async fn rewritten(answer: Reply, from: &str, to: &str) -> Reply {
    let (mut head, body) = answer.into_parts();
    let Ok(document) = body.collect().await else {
        return internal_error();
    };
    let document = document.to_bytes();
    let document = String::from_utf8_lossy(&document).replace(from, to);
    head.headers.remove(header::CONTENT_LENGTH);
    let body = Full::new(Bytes::from(document)).map_err(|never| match never {});
    Reply::from_parts(head, body.boxed_unsync())
}

/// A failure of the service.
pub(crate) fn internal_error() -> Reply {
    let text = "We encountered an internal error. Please try again.";
    refused(500, "InternalError", text)
}

/// A refusal before `s3s` has seen the request.
fn denied(code: &'static str, message: &str) -> Reply {
    refused(403, code, message)
}

fn refused(status: u16, code: &'static str, message: &str) -> Reply {
    let body = Xml::default().element("Error", |xml| {
        xml.text("Code", code).text("Message", message)
    });
    let mut answer = reply(status, "application/xml", body.finish());
    answer.extensions_mut().insert(Label {
        operation: None,
        error: Some(code),
    });
    answer
}
