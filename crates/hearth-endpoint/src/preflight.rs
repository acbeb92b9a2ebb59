//! CORS preflights: what a browser asks before a page of another origin may send its request.
//!
//! A preflight never carries credentials (Fetch standard, "CORS-preflight fetch"), so it cannot have a token. With the
//! connector `CORS_INGRESS` the application answers it:
//!
//! ```text
//! OPTIONS + Origin + Access-Control-Request-Method, no body, no header for us
//!     microVM runs, CORS_INGRESS, within the rate -> port 8080 -> status and headers of the answer
//!     anything else                               -> 403, as for any request without a token
//! ```
//!
//! Strangers can send these, so a preflight resumes no microVM, is no traffic that keeps one awake, and has a rate of its
//! own. Its answer is passed on without a body, which browsers ignore.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, ORIGIN};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::backend::{Microvm, State};
use crate::client::Client;
use crate::credentials::{self, DEFAULT_PORT};
use crate::download::Download;
use crate::headers;
use crate::pool::PortKey;
use crate::reason::NoAnswer;
use crate::reply::{Refusal, RequestId};
use crate::shared::Shared;
use crate::upload::Upload;
use crate::upstream::{Answer, Upstream};

/// How long the application may take. It limits how many preflights are under way: the rate times this.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Whether a request is a preflight. With a token it is a request like any other.
pub(crate) fn is_preflight<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && !credentials::has_any(headers)
        && (request.body().is_end_stream() || request.body().size_hint().exact() == Some(0))
}

/// One preflight of a client.
pub(crate) struct Preflight<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) client: &'a Client,
    pub(crate) id: &'a RequestId,
}

impl Preflight<'_> {
    /// Asks the application, if its microVM lets it be asked.
    pub(crate) async fn serve(
        &self,
        request: Request<Incoming>,
        authority: Option<Authority>,
    ) -> Result<Response<Download>, Refusal> {
        let microvm = self.microvm(authority.as_ref()).await?;
        let per_microvm = self.shared.microvms.of(&microvm);
        per_microvm.admit_preflight()?;
        let (mut parts, _) = request.into_parts();
        parts.version = Version::HTTP_11;
        headers::rewrite_request(&mut parts, authority, self.id)?;
        let upstream = Upstream {
            per_microvm,
            key: PortKey {
                epoch: microvm.epoch,
                port: DEFAULT_PORT,
            },
            dialer: Arc::clone(&self.shared.dialer),
        };
        let sending = upstream.send(parts, Upload::Empty);
        let sent = tokio::time::timeout(ANSWER_TIME, sending).await;
        let untold = Refusal::BadGateway(NoAnswer::Untold);
        match sent {
            Ok(Ok(answer)) => self.answer(answer),
            Ok(Err(error)) => {
                tracing::debug!(microvm = %microvm.id, error = &error as &dyn std::error::Error, "no answer to a preflight");
                Err(untold)
            }
            Err(_) => Err(untold),
        }
    }

    /// The microVM, if it runs and takes preflights. A sender without a token does not learn which of both is missing.
    async fn microvm(&self, authority: Option<&Authority>) -> Result<Microvm, Refusal> {
        let unknown = Refusal::MissingAuthentication;
        let endpoint = self
            .client
            .endpoint(authority)
            .map_err(|refusal| match refusal {
                // Browsers send preflights, too, over a connection whose certificate covers both names.
                Refusal::Misdirected => refusal,
                _ => unknown,
            })?;
        let found = self.shared.backend.find(endpoint).await;
        found
            .filter(|microvm| microvm.ingress.preflights && microvm.state == State::Running)
            .ok_or(unknown)
    }

    fn answer(&self, answer: Answer) -> Result<Response<Download>, Refusal> {
        let Answer {
            response,
            connection,
        } = answer;
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::BadGateway(NoAnswer::Untold));
        }
        // A connection whose answer has more to read is closed.
        if let Some(connection) = connection.filter(|_| body.is_end_stream()) {
            connection.release();
        }
        headers::rewrite_answer(&mut parts, self.id);
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, Download::empty()))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<Empty<&'static [u8]>> {
        let mut request = Request::builder().method(method).uri("/api");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    #[test]
    fn a_preflight_has_all_its_marks() {
        let origin = ("origin", "https://app.example");
        let method = ("access-control-request-method", "POST");
        let token = ("x-aws-proxy-auth", "token");
        let port = ("x-aws-proxy-port", "8080");
        assert!(is_preflight(&request("OPTIONS", &[origin, method])));
        for (verb, headers) in [
            ("POST", &[origin, method][..]),
            ("OPTIONS", &[origin]),
            ("OPTIONS", &[method]),
            ("OPTIONS", &[origin, method, token]),
            ("OPTIONS", &[origin, method, port]),
        ] {
            assert!(!is_preflight(&request(verb, headers)), "{verb} {headers:?}");
        }
        let with_body = request("OPTIONS", &[origin, method]).map(|_| Full::new(&b"x"[..]));
        assert!(!is_preflight(&with_body));
    }
}
