//! Uploads by a form (`POST` with `multipart/form-data`), as browsers send them.
//!
//! The fields before the file say who signed what: a policy, its signature and a key. They are read with small bounds,
//! the signature is verified and the policy held against the fields; only then the file is read, as a stream.

mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod policy;

use std::time::Duration;

use base64_simd::STANDARD as BASE64;
use futures_util::StreamExt as _;
use hearth_control::throttle::Rate;
use hearth_objects::{Attributes, NewObject, ObjectStore};
use http::header::{self, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use hyper::body::Incoming;
use s3s::dto::{Checksum, Tag};
use s3s::{S3Error, S3Result, s3_error};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::checksums::{self, Algorithm};
use super::description::{SSE, STORAGE_CLASS, kept_encoding};
use super::receive::{Stated, receive};
use super::rights::WRITE_TAGS;
use super::store::{AccountBuckets, check_key, now_ms};
use super::{S3, denied_by, tags, unsupported};
use crate::call::CallOrigin;
use crate::guest::Guest;
use crate::identity::Signer;
use crate::policy::Facts;
use crate::sigv4::{SignatureError, hex, policy_signature, split_credential};
use crate::wire::xml::Xml;
use crate::wire::{Reply, reply};
use fields::{Fields, FormBody};
use policy::Policy;

/// The name of the operation in metrics, in the audit log, and of its action for policies `s3:PutObject`.
pub(super) const OPERATION: &str = "PostObject";

/// Forms whose fields are being read, all clients together: nobody knows yet whose they are. Each holds its fields and a
/// piece of the connection's buffer, so all of them some 30 MiB.
pub(super) const FORMS: usize = 64;

/// The time for the fields before the file.
const FIELDS_TIME: Duration = Duration::from_secs(30);

/// Fields that are headers of the object.
const HEADERS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "expires",
    SSE,
    STORAGE_CLASS,
];

/// Answers an upload by a form. Also returns whose it was, if its signature was verified.
pub(super) async fn answer(
    s3: &S3,
    origin: CallOrigin,
    head: &Parts,
    body: Incoming,
) -> (S3Result<Reply>, Option<Signer>) {
    let read = async {
        let slow_down = |_| s3_error!(SlowDown, "Please reduce your request rate.");
        let _place = s3.forms.try_acquire().map_err(slow_down)?;
        let read = timeout(FIELDS_TIME, Form::read(head, body)).await;
        let form = read.map_err(|_| {
            s3_error!(
                RequestTimeout,
                "The fields of the form did not come within {} seconds.",
                FIELDS_TIME.as_secs()
            )
        })??;
        let (signer, policy) = form.verify(s3).await?;
        Ok((form, signer, policy))
    };
    let (form, signer, policy) = match read.await {
        Ok(verified) => verified,
        Err(error) => return (Err(error), None),
    };
    let taken = form.take(s3, origin, &signer, policy).await;
    (taken, Some(signer))
}

/// A form of which the fields were read, and the file was not.
struct Form {
    bucket: String,
    fields: Fields,
    file: multer::Field<'static>,
}

impl Form {
    async fn read(head: &Parts, body: Incoming) -> S3Result<Self> {
        let bucket = head.uri.path().trim_matches('/').to_owned();
        if bucket.is_empty() || bucket.contains('/') || head.uri.query().is_some() {
            return Err(s3_error!(
                MethodNotAllowed,
                "The specified method is not allowed against this resource: a form is sent to its bucket."
            ));
        }
        let mut kinds = head.headers.get_all(CONTENT_TYPE).iter();
        let (kind, other) = (kinds.next(), kinds.next());
        let kind = kind.filter(|_| other.is_none());
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(kind).map_err(|_| malformed())?;
        let body = FormBody::new(body);
        let (mut fields, file) = fields::read(body, boundary).await?;
        fields.name_file(file.file_name().unwrap_or_default());
        Ok(Self {
            bucket,
            fields,
            file,
        })
    }

    /// Verifies the signature of the policy, and the policy.
    async fn verify(&self, s3: &S3) -> S3Result<(Signer, Policy)> {
        let field = |name: &str| self.fields.get(name);
        let document = field("policy").ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let (access_key, scope) = match field("x-amz-credential") {
            Some(credential) => {
                let (key, scope) = split_credential(credential).ok_or_else(|| {
                    s3_error!(
                        InvalidArgument,
                        "The Credential in the field x-amz-credential is mal-formed."
                    )
                })?;
                (key, Some(scope))
            }
            None => {
                let key = field("awsaccesskeyid").ok_or_else(|| missing("AWSAccessKeyId"))?;
                (key.to_owned(), None)
            }
        };
        let token = field("x-amz-security-token");
        let signer = s3.identities.find(&access_key, token).await;
        let signer = signer.map_err(|error| match error {
            SignatureError::ExpiredToken => {
                s3_error!(ExpiredToken, "The provided token has expired.")
            }
            _ => s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            ),
        })?;
        let secret = signer.secret.reveal();
        let is_signed = match scope {
            Some(scope) => {
                let stated = field("x-amz-signature").ok_or_else(|| missing("X-Amz-Signature"))?;
                let algorithm = field("x-amz-algorithm");
                let time = field("x-amz-date").unwrap_or_default();
                let is_ours = algorithm == Some("AWS4-HMAC-SHA256")
                    && scope.service == "s3"
                    && time.starts_with(&scope.date);
                is_ours && is_same(stated, &policy_signature(secret, &scope, document))
            }
            None => {
                let stated = field("signature").ok_or_else(|| missing("signature"))?;
                is_same(stated, &signature_of_version_2(secret, document))
            }
        };
        if !is_signed {
            return Err(s3_error!(
                SignatureDoesNotMatch,
                "The request signature we calculated does not match the signature you provided. Check your key and signing method."
            ));
        }
        let policy = Policy::parse(document)?;
        policy.check(&self.bucket, &self.fields, jiff::Timestamp::now())?;
        Ok((signer, policy))
    }

    /// Keeps the file, if its signer may.
    async fn take(
        self,
        s3: &S3,
        origin: CallOrigin,
        signer: &Signer,
        policy: Policy,
    ) -> S3Result<Reply> {
        if let Some(guest) = origin.guest() {
            if guest.account != signer.account {
                return Err(s3_error!(AccessDenied, "{}", Guest::FOREIGN));
            }
        } else {
            let taken = s3
                .identities
                .control
                .throttle(signer.account, Rate::Request);
            taken.map_err(|_| s3_error!(SlowDown, "Please reduce your request rate."))?;
        }
        if let Some(endpoint) = &s3.elsewhere {
            return Err(s3_error!(
                NotImplemented,
                "This service has no S3 of its own; builds read from {}.",
                endpoint
            ));
        }
        for (name, value) in self.fields.iter() {
            let name = if name == "acl" { "x-amz-acl" } else { name };
            unsupported::judge(name, value).map_err(|refused| denied_by(&refused))?;
        }
        let key = self.key()?;
        let resources = [format!("arn:aws:s3:::{}/{key}", self.bucket)];
        let may = signer
            .principal
            .may("s3:PutObject", &resources, &Facts::new());
        may.map_err(|denied| s3_error!(AccessDenied, "{denied}"))?;
        if self.fields.get("tagging").is_some() {
            let may = signer.principal.may(WRITE_TAGS, &resources, &Facts::new());
            may.map_err(|denied| s3_error!(AccessDenied, "{denied}"))?;
        }
        let buckets = s3.buckets(signer.account);
        buckets.check_bucket(&self.bucket).await?;
        let mut attributes = self.attributes()?;
        let stated = self.stated(&policy);
        let mut blob = buckets.with_store(ObjectStore::new_blob).await?;
        let answer = Answer::of(&self.fields, &self.bucket, &key);
        let file = self.file.boxed();
        let received = receive(Some(file), &mut blob, stated).await?;
        checksums::keep(&mut attributes.headers, &received.checksum);
        let etag = hex(&received.md5);
        let object = NewObject {
            blob,
            size: received.size,
            etag: etag.clone(),
            attributes,
        };
        put(&buckets, self.bucket, key, object).await?;
        Ok(answer.reply(&etag))
    }

    fn key(&self) -> S3Result<String> {
        let key = self.fields.get("key").unwrap_or_default().to_owned();
        if key.is_empty() {
            return Err(s3_error!(
                UserKeyMustBeSpecified,
                "The bucket POST must contain the specified field name. If it is specified, check the order of the fields."
            ));
        }
        check_key(&key)?;
        Ok(key)
    }

    fn attributes(&self) -> S3Result<Attributes> {
        let mut attributes = Attributes::default();
        for (name, value) in self.fields.iter() {
            if HEADERS.contains(&name) {
                let is_usual = name == STORAGE_CLASS && value == "STANDARD";
                if !is_usual && http::HeaderValue::from_str(value).is_ok() {
                    attributes.headers.insert(name.to_owned(), value.to_owned());
                }
            } else if let Some(name) = name.strip_prefix("x-amz-meta-") {
                attributes
                    .metadata
                    .insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(encoding) = kept_encoding(self.fields.get("content-encoding")) {
            attributes
                .headers
                .insert("content-encoding".to_owned(), encoding);
        }
        if let Some(document) = self.fields.get("tagging") {
            attributes.tags = tags::of_set(tag_set(document)?)?;
        }
        Ok(attributes)
    }

    fn stated(&self, policy: &Policy) -> Stated {
        let value = |algorithm: Algorithm| self.fields.get(algorithm.header()).map(str::to_owned);
        Stated {
            content_md5: self.fields.get("content-md5").map(str::to_owned),
            algorithm: None,
            also: None,
            sizes: policy.sizes(),
            checksum: Checksum {
                checksum_crc32: value(Algorithm::Crc32),
                checksum_crc32c: value(Algorithm::Crc32c),
                checksum_crc64nvme: value(Algorithm::Crc64Nvme),
                checksum_sha1: value(Algorithm::Sha1),
                checksum_sha256: value(Algorithm::Sha256),
                checksum_type: None,
            },
            trailers: None,
        }
    }
}

async fn put(
    buckets: &AccountBuckets,
    bucket: String,
    key: String,
    object: NewObject,
) -> S3Result<()> {
    buckets
        .with_store(move |store, account| {
            let always = &hearth_objects::WriteCondition::Always;
            store.put(account, &bucket, &key, object, always, now_ms())
        })
        .await
}

/// What the client is answered.
struct Answer {
    redirect: Option<String>,
    status: u16,
    bucket: String,
    key: String,
}

impl Answer {
    fn of(fields: &Fields, bucket: &str, key: &str) -> Self {
        let redirect = fields
            .get("success_action_redirect")
            .or_else(|| fields.get("redirect"));
        // One that is no address is ignored, as by S3.
        let redirect = redirect.filter(|address| {
            let address = address.parse::<http::Uri>();
            address.is_ok_and(|address| address.scheme().is_some())
        });
        let status = match fields.get("success_action_status") {
            Some("200") => 200,
            Some("201") => 201,
            _ => 204,
        };
        Self {
            redirect: redirect.map(str::to_owned),
            status,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    fn reply(self, etag: &str) -> Reply {
        let quoted = format!("\"{etag}\"");
        let location = format!("/{}/{}", self.bucket, crate::sigv4::encode(&self.key));
        let (status, text, location) = match self.redirect {
            Some(address) => {
                let join = if address.contains('?') { '&' } else { '?' };
                let told = [
                    ("bucket", &*self.bucket),
                    ("key", &self.key),
                    ("etag", &quoted),
                ];
                let told =
                    told.map(|(name, value)| format!("{name}={}", crate::sigv4::encode(value)));
                (
                    303,
                    String::new(),
                    format!("{address}{join}{}", told.join("&")),
                )
            }
            None if self.status == 201 => {
                let document = Xml::default().element("PostResponse", |xml| {
                    xml.text("Location", &location)
                        .text("Bucket", &self.bucket)
                        .text("Key", &self.key)
                        .text("ETag", &quoted)
                });
                (201, document.finish(), location)
            }
            None => (self.status, String::new(), location),
        };
        let mut answer = reply(status, "application/xml", text);
        let headers: &mut HeaderMap = answer.headers_mut();
        for (name, value) in [(header::ETAG, quoted), (header::LOCATION, location)] {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        answer
    }
}

/// Reads the tags of a form: the document of `PutObjectTagging`.
fn tag_set(document: &str) -> S3Result<Vec<Tag>> {
    let mut reader = s3s::xml::Deserializer::new(document.as_bytes());
    let read: Result<s3s::dto::Tagging, _> =
        reader.named_element("Tagging", s3s::xml::DeserializeContent::deserialize_content);
    read.map(|tagging| tagging.tag_set).map_err(|_| malformed())
}

/// HMAC-SHA1 of the policy in base64: boto3 signs so where nothing else is configured and the region is `us-east-1`.
fn signature_of_version_2(secret: &str, document: &str) -> String {
    use hmac::{KeyInit, Mac};
    // HMAC takes keys of any length (RFC 2104 section 2): the error case does not exist.
    let signed = hmac::Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(document.as_bytes());
        BASE64.encode_to_string(mac.finalize().into_bytes())
    });
    signed.unwrap_or_default()
}

fn is_same(stated: &str, computed: &str) -> bool {
    !computed.is_empty() && bool::from(stated.as_bytes().ct_eq(computed.as_bytes()))
}

fn malformed() -> S3Error {
    s3_error!(
        MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data."
    )
}

fn missing(name: &str) -> S3Error {
    s3_error!(
        InvalidArgument,
        "Bucket POST must contain a field named '{}'. If it is specified, please check the order of the fields.",
        name
    )
}
