//! Signing a request.

use http::HeaderValue;
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::request::Parts;
use jiff::Timestamp;

use crate::canonical::{CanonicalRequest, PathForm};
use crate::scope::CredentialScope;
use crate::signature::{ALGORITHM, signature};
use crate::uri::encode;

/// Time as it is signed.
const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Signs requests to one service with one key.
pub struct Signer<'a> {
    /// The id of the key.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret_access_key: &'a str,
    /// The region to which the request goes.
    pub region: &'a str,
    /// The signing name of the service.
    pub service: &'a str,
}

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key's id or a hash has characters that no header may have.
    #[error("the access key has characters that no header may have")]
    Header(#[from] InvalidHeaderValue),
    /// A header is not text, or there is no `host`.
    #[error("a header to be signed is missing or not text")]
    Unreadable,
}

impl Signer<'_> {
    /// Signs every header that the request has by now, `host` among them. `payload_hash` is what
    /// [`payload_hash`](crate::payload_hash) answers for the body, or [`UNSIGNED_PAYLOAD`](crate::UNSIGNED_PAYLOAD).
    ///
    /// # Errors
    ///
    /// [`SignError`]: the request is not signed.
    pub fn sign(
        &self,
        head: &mut Parts,
        payload_hash: &str,
        now: Timestamp,
    ) -> Result<(), SignError> {
        let time = now.strftime(FORMAT).to_string();
        let headers = &mut head.headers;
        headers.insert("x-amz-date", HeaderValue::from_str(&time)?);
        headers.insert("x-amz-content-sha256", HeaderValue::from_str(payload_hash)?);
        let mut signed_headers: Vec<String> = head
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        signed_headers.sort();
        let canonical = CanonicalRequest {
            head,
            signed_headers: &signed_headers,
            payload_hash,
            is_presigned: false,
            path: PathForm::of(self.service),
        };
        let canonical = canonical.render().ok_or(SignError::Unreadable)?;
        let scope = self.scope(&time);
        let signature = signature(self.secret_access_key, &time, &scope, &canonical);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            signed_headers.join(";")
        );
        let mut authorization = HeaderValue::from_str(&authorization)?;
        authorization.set_sensitive(true);
        head.headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    /// The path and query of a request that whoever has them may make for so many seconds. Signs the headers that the request
    /// has by now, `host` among them.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn presign(
        &self,
        mut head: Parts,
        payload_hash: &str,
        expires_s: u32,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let time = now.strftime(FORMAT).to_string();
        let scope = self.scope(&time);
        let mut signed_headers: Vec<String> = head
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        signed_headers.sort();
        let credential = format!("{}/{scope}", self.access_key_id);
        let query = head.uri.query().map(|query| format!("{query}&"));
        let address = format!(
            "{}?{}X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders={}",
            head.uri.path(),
            query.unwrap_or_default(),
            encode(&credential),
            encode(&signed_headers.join(";")),
        );
        head.uri = address.parse().map_err(|_| SignError::Unreadable)?;
        let canonical = CanonicalRequest {
            head: &head,
            signed_headers: &signed_headers,
            payload_hash,
            is_presigned: true,
            path: PathForm::of(self.service),
        };
        let canonical = canonical.render().ok_or(SignError::Unreadable)?;
        let signature = signature(self.secret_access_key, &time, &scope, &canonical);
        Ok(format!("{address}&X-Amz-Signature={signature}"))
    }

    fn scope(&self, time: &str) -> CredentialScope {
        CredentialScope {
            date: time.chars().take(8).collect(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::signature::payload_hash;

    /// "GET Object" and "PUT Object" of "Examples: Signature Calculations in AWS Signature Version 4", S3 API Reference.
    const SIGNER: Signer<'_> = Signer {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "s3",
    };

    fn signature_of(request: http::request::Builder, body: &[u8]) -> String {
        let (mut head, ()) = request
            .header("host", "examplebucket.s3.amazonaws.com")
            .body(())
            .unwrap()
            .into_parts();
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        SIGNER.sign(&mut head, &payload_hash(body), now).unwrap();
        let authorization = head.headers[AUTHORIZATION].to_str().unwrap();
        authorization.rsplit_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn aws_signs_its_examples_alike() {
        let get = Request::get("/test.txt").header("range", "bytes=0-9");
        assert_eq!(
            signature_of(get, b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let put = Request::put("/test%24file.text")
            .header("date", "Fri, 24 May 2013 00:00:00 GMT")
            .header("x-amz-storage-class", "REDUCED_REDUNDANCY");
        assert_eq!(
            signature_of(put, b"Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        let list = Request::get("/?max-keys=2&prefix=J");
        assert_eq!(
            signature_of(list, b""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    /// The example of "Authenticating Requests: Using Query Parameters", S3 API Reference.
    #[test]
    fn aws_presigns_its_example_alike() {
        let get = Request::get("/test.txt").header("host", "examplebucket.s3.amazonaws.com");
        let (head, ()) = get.body(()).unwrap().into_parts();
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let address = SIGNER.presign(head, crate::UNSIGNED_PAYLOAD, 86400, now);
        let address = address.unwrap();
        assert!(address.starts_with("/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&"));
        assert_eq!(
            address.rsplit_once('=').unwrap().1,
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
