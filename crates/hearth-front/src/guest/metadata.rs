//! Instance metadata service, version 2: `PUT` returns a token, and the token gives the credentials of the execution
//! role (facts section 8).
//!
//! ```text
//! PUT /latest/api/token   X-aws-ec2-metadata-token-ttl-seconds: 1-21600     -> token
//! GET /latest/meta-data/iam/security-credentials/                 + token   -> execution_role
//! GET /latest/meta-data/iam/security-credentials/execution_role   + token   -> keys
//! ```
//!
//! Version 1, a `GET` without a token, is not supported: an attacker could make the application send such a request
//! (SSRF). For the same reason a `PUT` that came through a proxy gets no token.

use hearth_control::Control;
use hearth_control::microvm::Microvm;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Guest;
use crate::identity::{LaunchedMicrovm, RoleError, RoleSession, SessionKey};
use crate::wire::{Reply, reply};

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest life of a token: six hours, as on AWS.
const MAX_TTL_S: u32 = 21_600;

/// The name under which the role is listed, whatever its own name (facts section 8).
const ROLE: &str = "execution_role";

/// The metadata service of all guests.
pub(crate) struct Metadata {
    pub(crate) sessions: SessionKey,
    pub(crate) control: Control,
}

impl Metadata {
    pub(crate) async fn answer<B>(&self, guest: Guest, request: &Request<B>) -> Reply {
        let now = Timestamp::now();
        let path = request.uri().path();
        match *request.method() {
            Method::PUT if path == "/latest/api/token" => self.token(guest, request.headers(), now),
            Method::GET | Method::HEAD if self.has_token(guest, request.headers(), now) => {
                self.read(guest, path, now).await
            }
            Method::GET | Method::HEAD => text(401, "Unauthorized"),
            _ => text(405, "Method Not Allowed"),
        }
    }

    fn token(&self, guest: Guest, headers: &HeaderMap, now: Timestamp) -> Reply {
        if headers.contains_key(FORWARDED) {
            return text(403, "Forbidden");
        }
        let asked = headers
            .get(TTL)
            .and_then(|ttl| ttl.to_str().ok()?.parse().ok());
        let Some(ttl_s) = asked.filter(|ttl_s| (1..=MAX_TTL_S).contains(ttl_s)) else {
            return text(400, "Bad Request");
        };
        let until = now.checked_add(SignedDuration::from_secs(ttl_s.into()));
        let token = self
            .sessions
            .metadata_token(guest.microvm, until.unwrap_or(now));
        let mut answer = text(200, token);
        answer.headers_mut().insert(TTL, HeaderValue::from(ttl_s));
        answer
    }

    fn has_token(&self, guest: Guest, headers: &HeaderMap, now: Timestamp) -> bool {
        let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
        token.is_some_and(|token| self.sessions.is_metadata_token(token, guest.microvm, now))
    }

    async fn read(&self, guest: Guest, path: &str, now: Timestamp) -> Reply {
        let Some(rest) = path.strip_prefix("/latest/meta-data/iam/security-credentials") else {
            return match path.trim_end_matches('/') {
                "/latest" => text(200, "meta-data"),
                "/latest/meta-data" => text(200, "iam/"),
                "/latest/meta-data/iam" => text(200, "security-credentials/"),
                _ => text(404, "Not Found"),
            };
        };
        let microvm = self.control.watch_microvm(guest.microvm);
        let microvm = microvm.map(|microvm| microvm.borrow().clone());
        let Some(microvm) = microvm.filter(|microvm| microvm.terms.execution_role_arn.is_some())
        else {
            return text(404, "Not Found");
        };
        match rest {
            "" | "/" => text(200, ROLE),
            _ if rest.strip_prefix('/') == Some(ROLE) => self.credentials(&microvm, now).await,
            _ => text(404, "Not Found"),
        }
    }

    async fn credentials(&self, microvm: &Microvm, now: Timestamp) -> Reply {
        let keys = match RoleSession::of_microvm(&self.control, microvm).await {
            Ok(_) => self.sessions.issue(&LaunchedMicrovm::from(microvm), now),
            Err(RoleError::None) => return text(404, "Not Found"),
            Err(RoleError::Unavailable) => return text(500, "Internal Server Error"),
            Err(RoleError::Absent | RoleError::NotAssumable) => {
                // The answer of EC2 for a role that does not trust it.
                let refusal = json!({
                    "Code": "AssumeRoleUnauthorizedAccess",
                    "LastUpdated": whole_seconds(now),
                    "Message": "The execution role cannot be assumed: it must exist, trust lambda.amazonaws.com, and have \
                                policies that can be read.",
                });
                return reply(200, "application/json", refusal.to_string());
            }
        };
        tracing::info!(microvm = %microvm.id, access_key = keys.access_key, "credentials handed out");
        let answer = json!({
            "AccessKeyId": keys.access_key,
            "Code": "Success",
            "Expiration": whole_seconds(keys.expires_at),
            "LastUpdated": whole_seconds(keys.issued_at),
            "SecretAccessKey": keys.secret.reveal(),
            "Token": keys.session_token,
            "Type": "AWS-HMAC",
        });
        reply(200, "application/json", answer.to_string())
    }
}

fn text(status: u16, text: impl Into<bytes::Bytes>) -> Reply {
    reply(status, "text/plain", text)
}

fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
