//! Answers of the endpoint itself: the statuses and texts of AWS (facts section 9).
//!
//! AWS was not recorded with 421, which HTTP prescribes where two names share a connection. It leaves the bodies of 429
//! and 502 empty; here they say why ([`crate::reason`]). A page of another origin may read all of these answers: they
//! say nothing that its request did not have the token for.
//!
//! The endpoint never answers 401, 404, 410 or 503. A fault of the endpoint itself would be a 500, but it has none that
//! it could survive and notice.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONNECTION,
    CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use uuid::Uuid;

use crate::reason::{LimitReached, NoAnswer};

/// The header with the request's id, for the application and the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The header of answers that are not the application's: a word for the reason. AWS has no such header.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-hearth-reason");

/// Headers that a page of another origin may read.
const EXPOSED: &str = "retry-after, x-amzn-requestid, x-hearth-reason";

/// Why a request is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A port header, subprotocol or message framing is malformed.
    #[error("malformed request")]
    Malformed,
    /// The token is missing, or is not a token.
    #[error("Request missing authentication")]
    MissingAuthentication,
    /// The token is not valid for this microVM, or the host name is that of no microVM.
    #[error("Token authentication failed")]
    AuthenticationFailed,
    /// The request is for another host than the connection: by its name in TLS, or by an earlier request. Browsers
    /// send such requests over one connection if the operator's certificate covers both names. After a 421 they retry
    /// over another.
    #[error("this connection is another host's")]
    Misdirected,
    /// The token does not allow this port.
    #[error("Access to port denied")]
    PortDenied,
    /// A limit is reached.
    #[error("{0}")]
    TooMany(LimitReached),
    /// The application gave no answer.
    #[error("{0}")]
    BadGateway(NoAnswer),
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::MissingAuthentication | Self::AuthenticationFailed | Self::PortDenied => {
                StatusCode::FORBIDDEN
            }
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The body of the answer.
    fn text(self) -> String {
        match self {
            Self::MissingAuthentication
            | Self::AuthenticationFailed
            | Self::PortDenied
            | Self::TooMany(_)
            | Self::BadGateway(_) => self.to_string(),
            Self::Malformed | Self::Misdirected => String::new(),
        }
    }

    /// The reason as a word for programs.
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Malformed => Some("malformed"),
            Self::MissingAuthentication => Some("missing-authentication"),
            Self::AuthenticationFailed => Some("authentication-failed"),
            Self::Misdirected => Some("misdirected"),
            Self::PortDenied => Some("port-denied"),
            Self::TooMany(limit) => limit.word(),
            Self::BadGateway(reason) => reason.word(),
        }
    }

    /// The answer to the client. One that names an origin may show it to its page.
    pub(crate) fn response(self, id: &RequestId, has_origin: bool) -> Response<Full<Bytes>> {
        let text = self.text();
        let is_empty = text.is_empty();
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private,no-store"));
        headers.insert(REQUEST_ID, id.0.clone());
        if !is_empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        if let Some(word) = self.word() {
            headers.insert(REASON, HeaderValue::from_static(word));
        }
        if let Self::TooMany(limit) = self {
            headers.insert(RETRY_AFTER, limit.retry_after_s().into());
        }
        if self == Self::Malformed {
            // After ambiguous framing, nothing that follows can be parsed. HTTP/2 drops the header.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if has_origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        response
    }
}

/// The id of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    pub(crate) fn generate() -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        // A hyphenated UUID is always a valid header value. An empty id would still be a valid answer.
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("")))
    }
}
