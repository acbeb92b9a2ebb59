//! One signed call: address, signature, answer or refusal.

use std::time::Duration;

use bytes::Bytes;
use hearth_sigv4::Signer;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;

use crate::connection::{Address, Connector, HEAD_TIME};
use crate::error::{ClientError, Refusal};
use crate::payload::Payload;
use crate::settings::Settings;

/// Largest error answer that is read.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Largest answer that is read whole: a page of log events.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// How often a throttled call is made, and the pause after the first attempt, which doubles.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A client of one service with one key.
#[derive(Clone)]
pub struct Client {
    settings: Settings,
    address: Address,
    pub(crate) connector: Connector,
}

/// One call.
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    /// The signing name of the service.
    pub(crate) service: &'static str,
    pub(crate) method: Method,
    /// Path and query, encoded.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) payload: Payload,
}

impl Call {
    /// A call of `lambda-microvms` or of Hearth's own operations.
    pub(crate) fn lambda(operation: &'static str, method: Method, path: String) -> Self {
        Self {
            operation,
            service: "lambda",
            method,
            path,
            headers: Vec::new(),
            payload: Payload::empty(),
        }
    }

    /// The same with a JSON body.
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.headers
            .push((CONTENT_TYPE.as_str(), "application/json"));
        self.payload = Bytes::from(body.to_string()).into();
        self
    }
}

impl Client {
    /// A client. Opens no connection yet.
    ///
    /// # Errors
    ///
    /// When the address or the certificates cannot be read.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        Ok(Self {
            address: Address::of_url(&settings.endpoint_url)?,
            connector: Connector::new(&settings.ca_bundle_pem)?,
            settings,
        })
    }

    /// The settings of this client.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Calls and reads the answer's JSON. Retries after a pause if the service throttles.
    pub(crate) async fn call(&self, call: Call) -> Result<Value, ClientError> {
        let operation = call.operation;
        let answer = self.send(call).await?;
        let body = read(operation, answer, MAX_ANSWER_BYTES).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|source| ClientError::Malformed { operation, source })
    }

    /// The same for an answer that is not JSON.
    pub(crate) async fn call_text(&self, call: Call) -> Result<String, ClientError> {
        let operation = call.operation;
        let answer = self.send(call).await?;
        let body = read(operation, answer, MAX_ANSWER_BYTES).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Calls and answers the head; the body is still to come.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Response<Incoming>, ClientError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            let Some(payload) = call.payload.again() else {
                break;
            };
            let rest = std::mem::replace(&mut call.payload, payload);
            let answer = self.send_once(&call, rest).await;
            let is_throttled = |error: &ClientError| {
                error
                    .refusal()
                    .is_some_and(|refusal| matches!(refusal.status, 429 | 503))
            };
            match answer {
                Err(error) if is_throttled(&error) => {}
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let payload = std::mem::replace(&mut call.payload, Payload::empty());
        self.send_once(&call, payload).await
    }

    async fn send_once(
        &self,
        call: &Call,
        payload: Payload,
    ) -> Result<Response<Incoming>, ClientError> {
        self.send_within(call, payload, HEAD_TIME).await
    }

    /// Calls once, and waits so long for the head of the answer.
    pub(crate) async fn send_within(
        &self,
        call: &Call,
        payload: Payload,
        head_time: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = self.signed(call, payload)?;
        let answer = self
            .connector
            .send_within(call.operation, &self.address, request, head_time)
            .await?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            return Err(refusal(call.operation, answer).await.into());
        }
        Ok(answer)
    }

    fn signed(
        &self,
        call: &Call,
        payload: Payload,
    ) -> Result<Request<crate::payload::Body>, ClientError> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&self.address.authority());
        headers.insert(HOST, host.map_err(http::Error::from)?);
        for (name, value) in &call.headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .body(())?;
        let (mut head, ()) = request.into_parts();
        head.headers = headers;
        let signer = Signer {
            access_key_id: &self.settings.access_key_id,
            secret_access_key: &self.settings.secret_access_key,
            region: &self.settings.region,
            service: call.service,
        };
        signer.sign(&mut head, &payload.hash, Timestamp::now())?;
        if let Some(length) = payload.length {
            head.headers.insert(CONTENT_LENGTH, length.into());
        }
        Ok(Request::from_parts(head, payload.into_body()))
    }
}

/// Reads a body of at most so many bytes.
pub(crate) async fn read(
    operation: &'static str,
    answer: Response<Incoming>,
    limit: usize,
) -> Result<Bytes, ClientError> {
    Limited::new(answer.into_body(), limit)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|_| ClientError::CutOff(operation))
}

async fn refusal(operation: &'static str, answer: Response<Incoming>) -> Refusal {
    let status = answer.status().as_u16();
    let code = answer.headers().get("x-amzn-errortype").cloned();
    let code = code.as_ref().and_then(|code| code.to_str().ok());
    // Without a body the status alone is the error.
    let body = read(operation, answer, MAX_REFUSAL_BYTES).await;
    Refusal::read(operation, status, code, &body.unwrap_or_default())
}
