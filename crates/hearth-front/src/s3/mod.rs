//! S3: the protocol by `s3s`, the storage by `hearth-objects`.
//!
//! Each account has its own service over its own buckets, chosen by the access key that the request
//! names; `s3s` then verifies the signature (header, presigned, chunked) with that key's secret, so a
//! key can never reach another account's buckets. What `s3s` would take and AWS refuses is refused
//! before, by `admission.rs`. What roles and guests may is decided in `access.rs`.

mod access;
mod account;
mod admission;
mod chunk_limit;
mod conditions;
mod encoding;
mod fault;
mod found;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod listing;
mod memory;
mod multipart;
mod objects;
mod part_copy;
mod receive;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hearth_control::id::AccountId;
use hearth_objects::ObjectStore;
use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};

use crate::call::Origin;
use crate::guest::Guest;
use crate::identity::{Identities, Signer};
use crate::memory_shares::MemoryShares;
use crate::places::Places;
use crate::sigv4::{SignatureError, access_key_hint};
use crate::upload_body::UploadBody;
use crate::uri::query_pairs;
use crate::wire::xml::Xml;
use crate::wire::{Label, Reply, reply};
use access::{Access, Visit};
use chunk_limit::LimitedChunks;
use found::Found;
#[cfg(test)]
pub(crate) use memory::OF_ACCOUNT_BYTES;
use memory::{Held, Memory, held_bytes};
use store::AccountBuckets;

/// Clock skew that is tolerated: three times that of the other services, as on AWS.
const MAX_SKEW_S: u32 = 900;

/// Largest body of XML: ten thousand parts with their checksums, or a thousand keys of the greatest length, escaped.
const MAX_XML_BYTES: usize = 4 << 20;

/// The S3 service of all accounts.
pub(crate) struct S3 {
    identities: Identities,
    objects: Arc<ObjectStore>,
    places: Arc<Places>,
    joins: Arc<Places>,
    memory: Arc<Memory>,
    chunk_memory: Arc<Memory>,
    /// Where another S3 is that is used instead.
    elsewhere: Option<String>,
    /// Services are made when an account first asks; there are as many as accounts.
    services: Mutex<HashMap<AccountId, S3Service>>,
}

impl S3 {
    pub(crate) fn new(
        identities: Identities,
        objects: Arc<ObjectStore>,
        places: Arc<Places>,
        elsewhere: Option<String>,
        shares: &MemoryShares,
    ) -> Self {
        Self {
            identities,
            objects,
            places,
            joins: Arc::new(Places::for_joins()),
            memory: Arc::new(Memory::new(shares.xml_bytes)),
            chunk_memory: Arc::new(Memory::new(shares.chunk_bytes)),
            elsewhere,
            services: Mutex::default(),
        }
    }

    /// Answers one request; says whose it was when its signature was verified.
    pub(crate) async fn answer(
        &self,
        origin: Origin,
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
            // Not to be taken for an empty S3: what was uploaded here would be found by no build.
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

    fn make_service(&self, account: AccountId) -> S3Service {
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = MAX_SKEW_S;
        config.xml_max_body_size = MAX_XML_BYTES;
        // None gets as far: `admission.rs` refuses them.
        config.post_object_max_file_size = 0;
        config.form_max_parts = 1;
        config.form_max_field_size = 1;
        config.form_max_fields_size = 1;
        let buckets = AccountBuckets::new(
            Arc::clone(&self.objects),
            account,
            Arc::clone(&self.places),
            Arc::clone(&self.joins),
        );
        let mut builder = S3ServiceBuilder::new(buckets);
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

/// The key that a request names. boto3 still presigns with version 2 where the region is `us-east-1`
/// and nothing else is configured, so that form of query is known too.
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

/// The session token of a request: a header, or in the query of a presigned one.
fn session_token(head: &Parts) -> Option<String> {
    const NAME: &str = "x-amz-security-token";
    if let Some(token) = head.headers.get(NAME) {
        // One that is no text is still a token, and a wrong one.
        return Some(token.to_str().unwrap_or_default().to_owned());
    }
    let mut pairs = query_pairs(head.uri.query().unwrap_or_default());
    pairs
        .find(|(name, _)| name.eq_ignore_ascii_case(NAME))
        .map(|(_, token)| token)
}

/// Gives `s3s` the secrets of one account's keys, and of no other's. Those of roles are anybody's to ask for: `access.rs` holds the
/// key that signed against the one whose session was found.
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

/// Our own failure.
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
