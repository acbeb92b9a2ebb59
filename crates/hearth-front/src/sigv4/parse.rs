//! Parses a signature from the `Authorization` header or a presigned query.

use hearth_sigv4::{ALGORITHM, CredentialScope, TERMINATOR};
use http::HeaderMap;
use http::request::Parts;

use super::{AmzDate, Carrier, Payload, SignatureError, Signed};
use crate::uri::query_pairs;

/// Longest lifetime of a presigned request: seven days (SigV4 limit).
const MAX_EXPIRES_S: i64 = 7 * 24 * 3600;

/// Most headers that one signature may name: generous for any SDK, small for a hostile list.
const MAX_SIGNED_HEADERS: usize = 64;

impl Signed {
    /// Parses the signature of a request.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Missing`] if there is none. [`SignatureError::Incomplete`] or [`SignatureError::Scope`] if
    /// it is malformed.
    pub(crate) fn parse(head: &Parts) -> Result<Self, SignatureError> {
        let signed = match text_header(&head.headers, "authorization") {
            Some(authorization) => from_header(authorization, &head.headers)?,
            None => from_query(head)?,
        };
        if signed.scope.date != signed.date.day() {
            return Err(SignatureError::Scope);
        }
        // Headers that a proxy could add or change must be signed.
        let is_signed = |name: &str| signed.signed_headers.iter().any(|signed| signed == name);
        let mut must_be_signed = head
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-"));
        if !is_signed("host") || !must_be_signed.all(is_signed) {
            return Err(SignatureError::Mismatch);
        }
        Ok(signed)
    }
}

/// The access key and service that a request claims, to choose who verifies it. Nothing is checked.
pub(crate) fn access_key_hint(head: &Parts) -> Option<(String, CredentialScope)> {
    let credential = match text_header(&head.headers, "authorization") {
        Some(authorization) => {
            let parameters = authorization.strip_prefix(ALGORITHM)?;
            parameter(parameters, "Credential")?.to_owned()
        }
        None => {
            query_pairs(head.uri.query().unwrap_or_default())
                .find(|(name, _)| name == "X-Amz-Credential")?
                .1
        }
    };
    split_credential(&credential)
}

fn from_header(authorization: &str, headers: &HeaderMap) -> Result<Signed, SignatureError> {
    let parameters = authorization
        .strip_prefix(ALGORITHM)
        .ok_or(SignatureError::Incomplete("Credential"))?;
    let find = |name| parameter(parameters, name).ok_or(SignatureError::Incomplete(name));
    let (access_key, scope) = split_credential(find("Credential")?).ok_or(SignatureError::Scope)?;
    let date = text_header(headers, "x-amz-date")
        .and_then(AmzDate::parse)
        .ok_or(SignatureError::Incomplete("X-Amz-Date"))?;
    Ok(Signed {
        access_key,
        scope,
        session_token: text_header(headers, "x-amz-security-token").map(str::to_owned),
        date,
        signed_headers: split_headers(find("SignedHeaders")?)?,
        signature: find("Signature")?.to_owned(),
        payload: text_header(headers, "x-amz-content-sha256")
            .map_or(Payload::Unstated, |hash| Payload::Sha256(hash.to_owned())),
        carrier: Carrier::Header,
    })
}

fn from_query(head: &Parts) -> Result<Signed, SignatureError> {
    let pairs: Vec<_> = query_pairs(head.uri.query().unwrap_or_default()).collect();
    let find = |name: &'static str| {
        let pair = pairs.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
            .ok_or(SignatureError::Incomplete(name))
    };
    if find("X-Amz-Algorithm").map_err(|_| SignatureError::Missing)? != ALGORITHM {
        return Err(SignatureError::Incomplete("X-Amz-Algorithm"));
    }
    let (access_key, scope) =
        split_credential(find("X-Amz-Credential")?).ok_or(SignatureError::Scope)?;
    let date = AmzDate::parse(find("X-Amz-Date")?);
    let expires_s = find("X-Amz-Expires")?.parse().ok();
    Ok(Signed {
        access_key,
        scope,
        session_token: find("X-Amz-Security-Token").ok().map(str::to_owned),
        date: date.ok_or(SignatureError::Incomplete("X-Amz-Date"))?,
        signed_headers: split_headers(find("X-Amz-SignedHeaders")?)?,
        signature: find("X-Amz-Signature")?.to_owned(),
        payload: Payload::Unstated,
        carrier: Carrier::Query {
            expires_s: expires_s
                .filter(|seconds| (1..=MAX_EXPIRES_S).contains(seconds))
                .ok_or(SignatureError::Incomplete("X-Amz-Expires"))?,
        },
    })
}

fn split_credential(credential: &str) -> Option<(String, CredentialScope)> {
    let parts: Vec<_> = credential.split('/').collect();
    let [access_key, date, region, service, TERMINATOR] = parts[..] else {
        return None;
    };
    let scope = CredentialScope {
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
    };
    Some((access_key.to_owned(), scope))
}

fn split_headers(list: &str) -> Result<Vec<String>, SignatureError> {
    let headers: Vec<_> = list.split(';').map(str::to_ascii_lowercase).collect();
    // The list is signed as it is, and the standard requires it to be sorted.
    if headers.len() > MAX_SIGNED_HEADERS || !headers.is_sorted() || list.is_empty() {
        return Err(SignatureError::Incomplete("SignedHeaders"));
    }
    Ok(headers)
}

/// A parameter after the algorithm of an `Authorization` header.
pub(crate) fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(',').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
