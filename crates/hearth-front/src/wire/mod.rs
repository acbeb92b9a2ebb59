//! Answers in the protocols of AWS: REST-JSON, JSON 1.1, query XML, and the gateway's HTML.

pub(crate) mod json;
pub(crate) mod query;
pub(crate) mod xml;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::fault::Fault;

/// An error of a streamed response body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of any answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// An answer, whole or streamed.
pub(crate) type Reply = Response<Body>;

/// An answer whose body is in memory.
pub(crate) fn reply(status: u16, content_type: &'static str, text: impl Into<Bytes>) -> Reply {
    let body = Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// The load balancer in front of the Lambda API does not know the path (facts section 1).
pub(crate) fn gateway_not_found() -> Reply {
    let html = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n\
                <center><h1>404 Not Found</h1></center>\r\n</body>\r\n</html>\r\n";
    reply(404, "text/html", html)
}

fn add_retry_after(reply: &mut Reply, fault: &Fault) {
    if let Some(seconds) = fault.retry_after_s {
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// What the audit log and the metrics record of an answer, in its extensions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Label {
    pub(crate) operation: Option<&'static str>,
    pub(crate) error: Option<&'static str>,
}

impl Label {
    /// The label of an answer, for the caller to complete.
    pub(crate) fn of(reply: &mut Reply) -> &mut Self {
        reply.extensions_mut().get_or_insert_default()
    }
}
