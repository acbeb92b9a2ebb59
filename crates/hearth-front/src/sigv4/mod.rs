//! Verification of AWS Signature Version 4.
//!
//! A request has its signature in the `Authorization` header or, if presigned, in its query. Both are parsed into one
//! [`Signed`]. [`Signed::verify`] then rebuilds the canonical request from what arrived and compares in constant
//! time. Verification has two steps, so that a body is only read for a known key and a plausible time:
//! [`Signed::parse`] and [`Signed::check_time`] need only the head, [`Signed::verify`] also the body.
//!
//! `s3s` verifies S3 requests, with the same keys, because their payloads are streamed.
//!
//! Reference: "Create a signed AWS API request", IAM User Guide.

mod clock;
mod error;
mod parse;
#[cfg(test)]
mod tests;

use hearth_control::account::SecretKey;
use hearth_sigv4::{
    CanonicalRequest, CredentialScope, PathForm, UNSIGNED_PAYLOAD, payload_hash, signature,
};
use http::request::Parts;
use subtle::ConstantTimeEq;

pub(crate) use clock::AmzDate;
pub use error::SignatureError;
pub(crate) use hearth_sigv4::uri::encode;
pub(crate) use hearth_sigv4::{hex, policy_signature};
pub(crate) use parse::{access_key_hint, parameter, split_credential};

/// The parts of a request's signature, not verified yet.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) access_key: String,
    pub(crate) scope: CredentialScope,
    pub(crate) session_token: Option<String>,
    date: AmzDate,
    signed_headers: Vec<String>,
    signature: String,
    payload: Payload,
    carrier: Carrier,
}

/// Where the signature is. A presigned request is valid for the time that its signer chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Header,
    Query { expires_s: i64 },
}

/// What the signer stated about the body.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Payload {
    /// Nothing: the hash has to be computed from the body.
    Unstated,
    /// The value of `x-amz-content-sha256`, lower-case hex.
    Sha256(String),
}

/// What the signer stated about a body that is not read yet. It is checked when the body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyClaim {
    /// The hash of the body, lower-case hex.
    Sha256(String),
    /// The body is not signed: whoever can change the request on its way can change the body.
    Unsigned,
}

impl BodyClaim {
    /// The text that was signed in place of the hash.
    fn text(&self) -> &str {
        match self {
            Self::Sha256(hash) => hash,
            Self::Unsigned => UNSIGNED_PAYLOAD,
        }
    }

    /// Whether a body with this digest is the signed one.
    pub(crate) fn holds(&self, digest: &[u8]) -> bool {
        match self {
            Self::Sha256(stated) => equal(stated, &hex(digest)),
            Self::Unsigned => true,
        }
    }
}

impl Signed {
    /// What was stated about the body. `None` if its hash has to be computed before anything can be verified.
    pub(crate) fn claim(&self) -> Option<BodyClaim> {
        match &self.payload {
            Payload::Unstated => None,
            Payload::Sha256(text) if text == UNSIGNED_PAYLOAD => Some(BodyClaim::Unsigned),
            Payload::Sha256(hash) => Some(BodyClaim::Sha256(hash.clone())),
        }
    }

    /// Verifies the signature over the head and the stated hash of the body.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`] if head or key are not those that were signed.
    pub(crate) fn verify_head(
        &self,
        head: &Parts,
        claim: &BodyClaim,
        secret: &SecretKey,
    ) -> Result<(), SignatureError> {
        self.verify_hash(head, claim.text(), secret)
    }

    /// Verifies the signature over the head and the body of the request.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`] if head, body or key are not those that were signed.
    pub(crate) fn verify(
        &self,
        head: &Parts,
        body: &[u8],
        secret: &SecretKey,
    ) -> Result<(), SignatureError> {
        let body_hash = payload_hash(body);
        if let Payload::Sha256(stated) = &self.payload
            && !equal(stated, &body_hash)
        {
            return Err(SignatureError::Mismatch);
        }
        self.verify_hash(head, &body_hash, secret)
    }

    fn verify_hash(
        &self,
        head: &Parts,
        payload_hash: &str,
        secret: &SecretKey,
    ) -> Result<(), SignatureError> {
        let canonical = CanonicalRequest {
            head,
            signed_headers: &self.signed_headers,
            payload_hash,
            is_presigned: matches!(self.carrier, Carrier::Query { .. }),
            path: PathForm::of(&self.scope.service),
        };
        let canonical = canonical.render().ok_or(SignatureError::Mismatch)?;
        let expected = signature(secret.reveal(), &self.date.text, &self.scope, &canonical);
        if equal(&expected, &self.signature) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }
}

fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}
