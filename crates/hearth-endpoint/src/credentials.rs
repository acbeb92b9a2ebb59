//! The part of a request that is for the endpoint itself: token, port, protocol. It is removed before the request is
//! forwarded.
//!
//! Headers take precedence over WebSocket subprotocols, which exist because browsers cannot set headers on a
//! WebSocket:
//!
//! ```text
//! X-aws-proxy-auth: <jwe>           lambda-microvms, lambda-microvms.authentication.<jwe>
//! X-aws-proxy-port: <n>             lambda-microvms, lambda-microvms.port.<n>
//! X-aws-proxy-force-h2: true
//! ```

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue};

use crate::reply::Refusal;

/// The port of requests that name none.
pub(crate) const DEFAULT_PORT: u16 = 8080;

/// The subprotocol that marks others as meant for the endpoint.
pub(crate) const BASE_SUBPROTOCOL: &str = "lambda-microvms";

const NAMESPACE: &str = "x-aws-proxy-";
const AUTH: &str = "x-aws-proxy-auth";
const PORT: &str = "x-aws-proxy-port";
const FORCE_H2: &str = "x-aws-proxy-force-h2";
const AUTH_SUBPROTOCOL: &str = "lambda-microvms.authentication.";
const PORT_SUBPROTOCOL: &str = "lambda-microvms.port.";

/// What one request tells the endpoint. It contains a secret, so it has no `Debug`.
pub(crate) struct Credentials {
    token: Option<String>,
    port: Result<Option<u16>, Refusal>,
    /// Whether to speak HTTP/2 without TLS to the application.
    pub(crate) force_h2: bool,
    /// Whether the client offered [`BASE_SUBPROTOCOL`]. It is then selected if the application selects none.
    pub(crate) offered_base: bool,
}

/// Whether a request has a header for the endpoint: token, port, or any other of its namespace.
pub(crate) fn has_any(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with(NAMESPACE))
}

impl Credentials {
    /// Reads and removes everything that is meant for the endpoint.
    pub(crate) fn take(headers: &mut HeaderMap, is_websocket: bool) -> Self {
        let offers = if is_websocket {
            Offers::take(headers)
        } else {
            Offers::default()
        };
        let token = match values(headers, AUTH).as_slice() {
            [] => offers.token,
            [one] => Some((*one).to_owned()),
            // Two tokens count as none: it would be unclear which one was checked.
            _ => None,
        };
        let port = match values(headers, PORT).as_slice() {
            [] => offers.port,
            [one] => parse_port(one).map(Some),
            _ => Err(Refusal::Malformed),
        };
        let force_h2 = values(headers, FORCE_H2)
            .iter()
            .any(|value| value.eq_ignore_ascii_case("true"));
        strip_namespace(headers);
        Self {
            token,
            port,
            force_h2,
            offered_base: offers.base,
        }
    }

    /// The token in its wire form.
    pub(crate) fn token(&self) -> Result<&str, Refusal> {
        self.token.as_deref().ok_or(Refusal::MissingAuthentication)
    }

    /// The requested port, if the request names one.
    pub(crate) fn port(&self) -> Result<Option<u16>, Refusal> {
        self.port
    }
}

/// The subprotocols of a WebSocket handshake, divided into those for the endpoint and those for the application.
struct Offers {
    base: bool,
    token: Option<String>,
    port: Result<Option<u16>, Refusal>,
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            base: false,
            token: None,
            port: Ok(None),
        }
    }
}

impl Offers {
    fn take(headers: &mut HeaderMap) -> Self {
        let offered: Vec<String> = values(headers, SEC_WEBSOCKET_PROTOCOL.as_str())
            .iter()
            .flat_map(|line| line.split(','))
            .map(|offer| offer.trim().to_owned())
            .collect();
        // Without the base subprotocol, names of this form belong to the application.
        if !offered.iter().any(|offer| offer == BASE_SUBPROTOCOL) {
            return Self::default();
        }
        let mut offers = Self {
            base: true,
            ..Self::default()
        };
        let mut rest = Vec::new();
        for offer in &offered {
            if let Some(token) = offer.strip_prefix(AUTH_SUBPROTOCOL) {
                offers.token.get_or_insert_with(|| token.to_owned());
            } else if let Some(port) = offer.strip_prefix(PORT_SUBPROTOCOL) {
                offers.port = parse_port(port).map(Some);
            } else if offer != BASE_SUBPROTOCOL && !offer.is_empty() {
                rest.push(offer.as_str());
            }
        }
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
        if let Ok(rest) = HeaderValue::from_str(&rest.join(", "))
            && !rest.is_empty()
        {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, rest);
        }
        offers
    }
}

fn strip_namespace(headers: &mut HeaderMap) {
    let ours: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(NAMESPACE))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    // A value that is not ASCII is neither token nor port. Nor is an empty one.
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect()
}

/// Digits only: the standard parser would accept a plus sign.
fn parse_port(text: &str) -> Result<u16, Refusal> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_number { text.parse().ok() } else { None };
    port.filter(|&port| port != 0).ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests;
