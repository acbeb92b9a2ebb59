//! Answers of the endpoint itself: the statuses and texts of AWS (facts section 9).
//!
//! The exception is 421, which HTTP prescribes where two names share a connection; AWS was not recorded in that case.
//! The endpoint never answers 401, 404, 410 or 503. Any failure behind the endpoint is an empty 502. A fault of the
//! endpoint itself would be a 500, but it has none that it could survive and notice.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use uuid::Uuid;

/// The header with the request's id, for the application and the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

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
    /// The limit of connections, requests or waiting requests is reached.
    #[error("limit reached")]
    TooMany,
    /// The application cannot be reached.
    #[error("the application is not reachable")]
    BadGateway,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::MissingAuthentication | Self::AuthenticationFailed | Self::PortDenied => {
                StatusCode::FORBIDDEN
            }
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::MissingAuthentication => "Request missing authentication",
            Self::AuthenticationFailed => "Token authentication failed",
            Self::PortDenied => "Access to port denied",
            Self::Malformed | Self::Misdirected | Self::TooMany | Self::BadGateway => "",
        }
    }

    /// The answer to the client.
    pub(crate) fn response(self, id: &RequestId) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.text()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private,no-store"));
        headers.insert(REQUEST_ID, id.0.clone());
        if !self.text().is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        if self == Self::Malformed {
            // After ambiguous framing, nothing that follows can be parsed. HTTP/2 drops the header.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
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
