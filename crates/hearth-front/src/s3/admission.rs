//! Checks of a request's head before `s3s` reads the request.
//!
//! `s3s` processes some requests before it has authenticated them, and accepts some that AWS refuses:
//!
//! | refused here | because |
//! |---|---|
//! | forms of browsers (`POST` with `multipart/form-data`) | `s3s` would read their file into memory before anything is authorised: `form` answers them |
//! | headers that ask for what is not here (`unsupported.rs`) | `s3s` would take them in silence |
//! | headers `x-amz-*` that are not signed | a presigned `PUT` would become a copy of any object by one of them |
//! | signatures of version 2 in a header | nothing bounds their age |
//! | presigned requests for longer than a week | AWS bounds them so; version 2 has no bound of its own |
//! | more than one signature, more than 64 parameters | what is read here must be what `s3s` reads |
//!
//! The texts are those of AWS where AWS has one.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

use super::refusal::{Refused, refused};
use super::unsupported;
use crate::sigv4::parameter;
use crate::uri::query_pairs;

/// Longest lifetime of a presigned request, in seconds.
const MAX_EXPIRES_S: i64 = 7 * 24 * 3600;

/// Most parameters of a query. The largest operation, with a signature of version 4 and overridden headers, has fewer
/// than thirty.
const MAX_PARAMETERS: usize = 64;

/// Headers that a presigned request may have without signing them: they repeat what is signed, or state the hash of
/// the body.
const HARMLESS: &[&str] = &["x-amz-content-sha256", "x-amz-date"];

/// Where the signature of a request is.
enum Signature {
    Header,
    /// In the query, version 4.
    Query,
    /// In the query, version 2.
    QueryVersion2,
}

/// Checks the head of a request. `now_s` is in seconds since 1970.
pub(super) fn admit(head: &Parts, now_s: i64) -> Result<(), Refused> {
    if is_form(head) {
        // `form` answers them, and nothing else may.
        return Err(refused(
            501,
            "NotImplemented",
            "A form is not answered here.",
        ));
    }
    let query = head.uri.query().unwrap_or_default();
    if query.split('&').count() > MAX_PARAMETERS {
        let text = format!("A query has at most {MAX_PARAMETERS} parameters.");
        return Err(refused(400, "InvalidRequest", &text));
    }
    let pairs: Vec<_> = query_pairs(query).collect();
    match signature(&head.headers, &pairs)? {
        Signature::Header => {
            let authorization = text(&head.headers, header::AUTHORIZATION.as_str());
            let list = parameter(authorization, "SignedHeaders");
            are_signed(&head.headers, list.unwrap_or_default(), &[])
        }
        Signature::Query => {
            lasts_a_week(&pairs)?;
            let list = value(&pairs, "X-Amz-SignedHeaders").unwrap_or_default();
            are_signed(&head.headers, list, HARMLESS)
        }
        // A signature of version 2 covers all `x-amz-*` headers.
        Signature::QueryVersion2 => ends_within_a_week(&pairs, now_s),
    }?;
    unsupported::judge_all(&head.headers, &pairs)
}

/// Whether a header says that the body is a form. `s3s` ignores headers that are not UTF-8, accepts letters outside
/// ASCII, and looks only at the text before a `+`. So each value is compared by its beginning.
pub(super) fn is_form(head: &Parts) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    let begins = |kind: &HeaderValue| {
        let kind = kind.as_bytes().trim_ascii_start().get(..FORM.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(FORM))
    };
    let mut kinds = head.headers.get_all(header::CONTENT_TYPE).iter();
    head.method == Method::POST && kinds.any(begins)
}

fn signature(headers: &HeaderMap, pairs: &[(String, String)]) -> Result<Signature, Refused> {
    let in_header = headers.get_all(header::AUTHORIZATION).iter().count();
    let in_query = |name| pairs.iter().filter(|(known, _)| known == name).count();
    let (version_4, version_2) = (in_query("X-Amz-Signature"), in_query("Signature"));
    match (in_header, version_4, version_2) {
        (1, 0, 0) if text(headers, header::AUTHORIZATION.as_str()).starts_with("AWS4-HMAC-") => {
            Ok(Signature::Header)
        }
        (1, 0, 0) => {
            let text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
            Err(refused(400, "InvalidRequest", text))
        }
        (0, 1, 0) => Ok(Signature::Query),
        (0, 0, 1) => Ok(Signature::QueryVersion2),
        (0, 0, 0) => Err(refused(403, "AccessDenied", "Access Denied")),
        _ => {
            let text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified";
            Err(refused(400, "InvalidArgument", text))
        }
    }
}

/// Whether each `x-amz-*` header is in the list of signed headers.
fn are_signed(headers: &HeaderMap, signed: &str, harmless: &[&str]) -> Result<(), Refused> {
    let is_signed = |name: &str| {
        signed
            .split(';')
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    let unsigned = headers
        .keys()
        .map(http::HeaderName::as_str)
        .find(|name| name.starts_with("x-amz-") && !harmless.contains(name) && !is_signed(name));
    match unsigned {
        None => Ok(()),
        Some(name) => {
            let text =
                format!("There were headers present in the request which were not signed: {name}");
            Err(refused(403, "AccessDenied", &text))
        }
    }
}

fn lasts_a_week(pairs: &[(String, String)]) -> Result<(), Refused> {
    let expires_s = value(pairs, "X-Amz-Expires").and_then(|text| text.parse().ok());
    if expires_s.is_some_and(|seconds: i64| (0..=MAX_EXPIRES_S).contains(&seconds)) {
        return Ok(());
    }
    let text = format!(
        "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than {MAX_EXPIRES_S} seconds"
    );
    Err(refused(400, "AuthorizationQueryParametersError", &text))
}

fn ends_within_a_week(pairs: &[(String, String)], now_s: i64) -> Result<(), Refused> {
    let ends_s = value(pairs, "Expires").and_then(|text| text.parse().ok());
    if ends_s.is_some_and(|moment: i64| moment <= now_s.saturating_add(MAX_EXPIRES_S)) {
        return Ok(());
    }
    let text = "A presigned request of signature version 2 must expire within a week. Version 4 says it of itself.";
    Err(refused(403, "AccessDenied", text))
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let pair = pairs.iter().find(|(known, _)| known == name);
    pair.map(|(_, value)| value.as_str())
}

/// The text of a header. Empty if it is absent or not a text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
#[cfg(test)]
mod tests;
