use hearth_control::account::SecretKey;
use http::Request;
use http::request::Parts;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

/// Signed by botocore 1.44.5 with the key below, at this time.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNED_AT: &str = "2026-11-22T06:00:00Z";

/// Requests that botocore signed: method, URL, headers, body. `tests/tools/sign_vectors.py` wrote them.
const VECTORS: &str = include_str!("vectors.json");

#[derive(serde::Deserialize)]
struct Vector {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Vector {
    fn head(&self) -> Parts {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(VECTORS).unwrap()
}

fn secret() -> SecretKey {
    SecretKey::new(SECRET.to_owned())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_botocore_signs_is_accepted() {
    for vector in vectors() {
        let head = vector.head();
        let signed = Signed::parse(&head).unwrap();
        signed.check_time(at(SIGNED_AT)).unwrap();
        assert_eq!(
            signed.verify(&head, vector.body.as_bytes(), &secret()),
            Ok(()),
            "{}",
            vector.url
        );
    }
}

#[test]
fn another_key_or_body_is_a_mismatch() {
    for vector in vectors() {
        let head = vector.head();
        let signed = Signed::parse(&head).unwrap();
        let other = SecretKey::new("other".to_owned());
        assert_eq!(
            signed.verify(&head, vector.body.as_bytes(), &other),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            signed.verify(&head, b"other", &secret()),
            Err(SignatureError::Mismatch)
        );
    }
}

#[test]
fn every_part_of_the_head_is_signed() {
    for mut vector in vectors()
        .into_iter()
        .filter(|vector| vector.url.starts_with('/'))
    {
        let method = std::mem::replace(&mut vector.method, "HEAD".to_owned());
        assert_mismatch(&vector);
        vector.method = method;
        let separator = if vector.url.contains('?') { '&' } else { '?' };
        let url = std::mem::take(&mut vector.url);
        vector.url = format!("{url}{separator}x=1");
        assert_mismatch(&vector);
        vector.url = url;
        vector.headers.push(("x-amz-unsigned".into(), "1".into()));
        assert_eq!(
            Signed::parse(&vector.head()).unwrap_err(),
            SignatureError::Mismatch
        );
    }
}

fn assert_mismatch(vector: &Vector) {
    let head = vector.head();
    let signed = Signed::parse(&head).unwrap();
    assert_eq!(
        signed.verify(&head, vector.body.as_bytes(), &secret()),
        Err(SignatureError::Mismatch),
        "{} {}",
        vector.method,
        vector.url
    );
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let vectors = vectors();
    let head = vectors[0].head();
    let signed = Signed::parse(&head).unwrap();
    for accepted in ["2026-11-22T05:55:00Z", "2026-11-22T06:05:00Z"] {
        assert_eq!(signed.check_time(at(accepted)), Ok(()));
    }
    assert_eq!(
        signed
            .check_time(at("2026-11-22T06:05:01Z"))
            .unwrap_err()
            .to_string(),
        "Signature expired: 20261122T060000Z is now earlier than 20261122T060001Z (20261122T060501Z - 5 min.)"
    );
    assert_eq!(
        signed
            .check_time(at("2026-11-22T05:54:59Z"))
            .unwrap_err()
            .to_string(),
        "Signature not yet current: 20261122T060000Z is still later than 20261122T055959Z (20261122T055459Z + 5 min.)"
    );
}

/// It was presigned for an hour.
#[test]
fn what_is_presigned_is_valid_for_fifteen_minutes() {
    let vectors = vectors();
    let signed = Signed::parse(&vectors.last().unwrap().head()).unwrap();
    assert_eq!(signed.check_time(at("2026-11-22T06:15:00Z")), Ok(()));
    let late = signed.check_time(at("2026-11-22T06:15:01Z"));
    assert!(matches!(late, Err(SignatureError::Expired(_))));
}

#[test]
fn nothing_and_half_a_signature_are_told_apart() {
    let head = |authorization: Option<&str>| {
        let mut request = Request::builder().uri("/");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(()).unwrap().into_parts().0
    };
    assert_eq!(
        Signed::parse(&head(None)).unwrap_err(),
        SignatureError::Missing
    );
    let half = head(Some(
        "AWS4-HMAC-SHA256 Credential=K/20261122/r/lambda/aws4_request",
    ));
    assert!(matches!(
        Signed::parse(&half).unwrap_err(),
        SignatureError::Incomplete(_)
    ));
    let scope = head(Some(
        "AWS4-HMAC-SHA256 Credential=K, SignedHeaders=host, Signature=0",
    ));
    assert_eq!(Signed::parse(&scope).unwrap_err(), SignatureError::Scope);
}

proptest! {
    #[test]
    fn no_authorization_panics(text in "[ -~]{0,200}", query in "[ -~&&[^#\\\\\"<>`{}| ]]{0,100}") {
        let request = Request::builder().uri(format!("/?{query}")).header("authorization", text);
        if let Ok(request) = request.body(()) {
            let (head, ()) = request.into_parts();
            if let Ok(signed) = Signed::parse(&head) {
                let _ = signed.verify(&head, b"", &secret());
            }
            let _ = access_key_hint(&head);
        }
    }
}
