//! A client of the operator's own operations, for the command line: signed with the key that `hearth up` wrote down.

use std::time::Duration;

use bytes::Bytes;
use hearth_control::account::SecretKey;
use hearth_front::Signer;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::client_settings::ClientSettings;

/// What every path begins with.
const PREFIX: &str = "/hearth/v1/";

/// How long an answer may take. None of the operations waits for a microVM.
const TIME: Duration = Duration::from_secs(30);

/// Longest answer: a hundred keys of many accounts are far below.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The settings name no address that this client can use.
    #[error("{0} is not an address of `hearth up`")]
    Address(String),
    /// Nothing answers there.
    #[error("cannot reach {address}; is `hearth up` running?")]
    Unreachable {
        /// The address.
        address: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not answer in time.
    #[error("no answer within {TIME:?}")]
    Timeout,
    /// The service said no, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// Calls one service.
#[derive(Debug)]
pub struct OperatorClient {
    address: String,
    signer: Signer,
}

impl OperatorClient {
    /// The client of the service that wrote these settings.
    ///
    /// # Errors
    ///
    /// [`CallError::Address`].
    pub fn new(settings: &ClientSettings) -> Result<Self, CallError> {
        let address = settings.endpoint_url.strip_prefix("http://");
        let address = address.ok_or_else(|| CallError::Address(settings.endpoint_url.clone()))?;
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            signer: Signer {
                access_key: settings.access_key_id.clone(),
                secret: SecretKey::new(settings.secret_access_key.clone()),
                region: settings.region.clone(),
                service: "lambda".to_owned(),
            },
        })
    }

    /// Makes one call; answers what it answers, `null` when that is nothing.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = self.request(method, path, &body.into())?;
        match tokio::time::timeout(TIME, self.exchange(request)).await {
            Ok(answered) => read(&answered?),
            Err(_) => Err(CallError::Timeout),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let unusable = || CallError::Address(format!("{}{PREFIX}{path}", self.address));
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{path}"))
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()));
        let (mut head, sent) = request.map_err(|_| unusable())?.into_parts();
        let now = jiff::Timestamp::now();
        let signed = self.signer.sign(&mut head, body, now);
        signed.map_err(|_| unusable())?;
        Ok(Request::from_parts(head, sent))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, CallError> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| {
            let address = self.address.clone();
            CallError::Unreachable { address, source }
        };
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.map_err(|error| unreachable(error.into()))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| unreachable(error.into()))?;
        // It ends with the sender; what fails on it is told by the answer.
        let driver = tokio::spawn(connection);
        let answered = sender.send_request(request).await;
        let (head, body) = answered
            .map_err(|error| unreachable(error.into()))?
            .into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(unreachable)?.to_bytes();
        driver.abort();
        Ok(Answer {
            status: head.status,
            body,
        })
    }
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

fn read(answer: &Answer) -> Result<Value, CallError> {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if answer.status.is_success() {
        return Ok(said);
    }
    let message = said.get("message").and_then(Value::as_str);
    let message = message.map_or_else(
        || format!("the service answered {}", answer.status),
        str::to_owned,
    );
    Err(CallError::Refused(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Result<Value, CallError> {
        read(&Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::from_static(body.as_bytes()),
        })
    }

    #[test]
    fn answers_are_read_and_refusals_are_told_in_the_words_of_the_service() {
        assert_eq!(
            answer(200, "{\"a\": 1}").unwrap(),
            serde_json::json!({"a": 1})
        );
        assert_eq!(answer(204, "").unwrap(), Value::Null);
        assert_eq!(
            answer(409, "{\"message\": \"no\"}")
                .unwrap_err()
                .to_string(),
            "no"
        );
        assert!(
            answer(404, "<html>")
                .unwrap_err()
                .to_string()
                .contains("404")
        );
    }
}
