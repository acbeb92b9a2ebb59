//! Rewrites headers between client and application: hop-by-hop headers are removed.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, Version, request, response};

use crate::reply::{REASON, REQUEST_ID, Refusal, RequestId};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers that are kept even if a client names them in `Connection`: they define the message.
const NOT_OF_THE_HOP: &[&str] = &["host", "content-length", "content-type", "cookie", "te"];

/// The protocol that a request wants to upgrade to, such as `websocket`.
pub(crate) fn wanted_upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !names_in_connection(headers).any(|name| name == "upgrade") {
        return None;
    }
    headers.get(UPGRADE).cloned()
}

/// Whether an upgrade is to a WebSocket (RFC 6455 section 4.2.1).
pub(crate) fn is_websocket(method: &Method, upgrade: &HeaderValue) -> bool {
    method == Method::GET && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// Whether the body is gRPC, which needs HTTP/2.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    // gRPC-Web is made for HTTP/1.1. Its type begins with the same letters.
    rest.is_some_and(|rest| rest.first() != Some(&b'-'))
}

/// The head of a request as the application gets it, in the version that it already states.
pub(crate) fn rewrite_request(
    parts: &mut request::Parts,
    authority: Option<Authority>,
    id: &RequestId,
) -> Result<(), Refusal> {
    parts.extensions.clear();
    strip_hop_by_hop(&mut parts.headers);
    parts.uri = target(&parts.uri, authority, parts.version, &mut parts.headers)?;
    parts.headers.insert(REQUEST_ID, id.0.clone());
    Ok(())
}

/// The head of an answer as the client gets it.
pub(crate) fn rewrite_answer(parts: &mut response::Parts, id: &RequestId) {
    strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    // It marks answers of the endpoint, so no application may send it.
    parts.headers.remove(REASON);
    let own = parts.headers.entry(REQUEST_ID);
    own.or_insert_with(|| id.0.clone());
}

/// Removes hop-by-hop headers (RFC 9110 section 7.6.1). `TE: trailers` is put back, because trailers are forwarded.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = names_in_connection(headers)
        .filter(|name| !NOT_OF_THE_HOP.contains(&name.as_str()))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    // If both are present, chunks count and the length may be wrong (RFC 9112 section 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let takes_trailers = words(headers, &TE).any(|word| word == "trailers");
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Puts the headers of an upgrade back.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, upgrade: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade);
}

/// The request target in the form of the application's protocol. Sets or removes `Host` to match.
pub(crate) fn target(
    uri: &Uri,
    authority: Option<Authority>,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<Uri, Refusal> {
    let path = uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    if version == Version::HTTP_2 {
        headers.remove(HOST);
        return Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority.unwrap_or(Authority::from_static("localhost")))
            .path_and_query(path)
            .build()
            .map_err(|_| Refusal::Malformed);
    }
    if let Some(authority) = authority {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Malformed)?;
        headers.insert(HOST, host);
    }
    join_cookies(headers);
    Ok(Uri::from(path))
}

/// HTTP/2 may split cookies into several lines. HTTP/1.1 has one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() < 2 {
        return;
    }
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

fn names_in_connection(headers: &HeaderMap) -> impl Iterator<Item = String> {
    words(headers, &CONNECTION)
}

/// The comma-separated words of all lines of a header, in lower case.
fn words(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|word| word.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
