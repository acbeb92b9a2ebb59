//! The other side: signing a request as its sender, for our own tools.

use http::HeaderValue;
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::request::Parts;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use hearth_control::account::SecretKey;

use super::clock::AmzDate;
use super::{ALGORITHM, Carrier, CredentialScope, Payload, Signed, hex};

/// Who signs, and for what.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The id of the access key.
    pub access_key: String,
    /// Its secret.
    pub secret: SecretKey,
    /// The region.
    pub region: String,
    /// The service, by its signing name.
    pub service: String,
}

impl Signer {
    /// Adds date and signature to a request that has its `Host` header and this body.
    ///
    /// # Errors
    ///
    /// When the key cannot stand in a header.
    pub fn sign(
        &self,
        head: &mut Parts,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), InvalidHeaderValue> {
        let date = AmzDate::of(now);
        let value = HeaderValue::from_str(&date.text)?;
        head.headers.insert("x-amz-date", value);
        let scope = CredentialScope {
            date: date.day().to_owned(),
            region: self.region.clone(),
            service: self.service.clone(),
        };
        let signed_headers = ["host", "x-amz-date"].map(str::to_owned).to_vec();
        let unsigned = Signed {
            access_key: self.access_key.clone(),
            scope,
            session_token: None,
            date,
            signed_headers,
            signature: String::new(),
            payload: Payload::Unstated,
            carrier: Carrier::Header,
        };
        let hash = hex(&Sha256::digest(body));
        // Both signed headers are there.
        let signature = unsigned.signature_over(head, &hash, &self.secret);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={}",
            self.access_key,
            unsigned.scope,
            unsigned.signed_headers.join(";"),
            signature.unwrap_or_default()
        );
        let mut value = HeaderValue::from_str(&authorization)?;
        value.set_sensitive(true);
        head.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn what_is_signed_here_is_accepted_here() {
        let signer = Signer {
            access_key: "AKIAEXAMPLE".to_owned(),
            secret: SecretKey::new("secret".to_owned()),
            region: "eu-west-1".to_owned(),
            service: "lambda".to_owned(),
        };
        let now = "2026-11-25T01:02:03Z".parse().unwrap();
        let request = Request::post("/hearth/v1/a%20b?x=1&a=%2F").header("host", "127.0.0.1:4580");
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        signer.sign(&mut head, b"body", now).unwrap();
        let signed = Signed::parse(&head).unwrap();
        assert_eq!(
            (signed.access_key.as_str(), signed.scope.service.as_str()),
            ("AKIAEXAMPLE", "lambda")
        );
        signed.check_time(now).unwrap();
        signed.verify(&head, b"body", &signer.secret).unwrap();
        assert!(signed.verify(&head, b"other", &signer.secret).is_err());
    }
}
