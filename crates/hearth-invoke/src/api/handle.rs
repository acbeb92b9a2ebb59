//! Turns HTTP requests of programs into calls, and replies into HTTP.

use std::sync::Arc;

use base64_simd::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::routes::{Route, route};
use crate::failure::{extension_error_type, runtime_error_type};
use crate::life::{ApiRefusal, Call, ExtensionEvents, ResponseBody, StreamEnd};
use crate::limits::{MAX_EXTENSION_BODY_BYTES, MAX_RESPONSE_BYTES, MAX_STREAMED_BYTES};

type Answered = Response<Full<Bytes>>;

const MODE: &str = "lambda-runtime-function-response-mode";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const EXTENSION_NAME: &str = "lambda-extension-name";
const EXTENSION_ID: &str = "lambda-extension-identifier";
const EXTENSION_ERROR_TYPE: &str = "lambda-extension-function-error-type";
const ACCEPT_FEATURE: &str = "lambda-extension-accept-feature";

/// Why the Telemetry API is refused.
const NO_TELEMETRY: &str =
    "The Telemetry API is not available on this host. Read the function's log group instead.";

/// Why functions cannot ask to be restored.
const NO_RESTORE: &str = "SnapStart is not enabled for this function.";

/// What the environment's task is told.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A call, and where its reply goes.
    Call(Call, oneshot::Sender<Replied>),
    /// The streamed response of this number has ended.
    StreamEnded(u64, StreamEnd),
    /// No further connection will come: the environment is gone.
    Lost,
}

/// What the environment's task replies.
#[derive(Debug)]
pub(crate) enum Replied {
    Event(Delivery),
    Accepted,
    /// Send the body here. The number names the response in [`Asked::StreamEnded`].
    Stream {
        number: u64,
        head: Option<oneshot::Sender<Option<String>>>,
        chunks: mpsc::Sender<Bytes>,
    },
    /// The extension's identifier, and what it learns of the function.
    Registered {
        identifier: String,
        function_name: String,
        function_version: String,
        handler: String,
        account: String,
    },
    Extension(ExtensionDelivery),
    Refused(ApiRefusal),
}

/// An event for the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) request_id: String,
    pub(crate) deadline_ms: i64,
    pub(crate) invoked_arn: String,
    pub(crate) trace_id: String,
    pub(crate) client_context: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) payload: Bytes,
}

/// An event for an extension: JSON.
#[derive(Debug, Clone)]
pub(crate) struct ExtensionDelivery {
    pub(crate) event_id: String,
    pub(crate) body: serde_json::Value,
}

/// The way to the environment's task.
#[derive(Debug, Clone)]
pub(crate) struct ApiCalls {
    asked: mpsc::Sender<Asked>,
    /// One response is read at a time: connections of one environment cannot fill memory with bodies.
    body_turn: Arc<Mutex<()>>,
}

impl ApiCalls {
    pub(crate) fn new(asked: mpsc::Sender<Asked>) -> Self {
        Self {
            asked,
            body_turn: Arc::default(),
        }
    }

    pub(super) async fn lost(&self) {
        drop(self.asked.send(Asked::Lost).await);
    }

    async fn call(&self, call: Call) -> Replied {
        let (sender, reply) = oneshot::channel();
        if self.asked.send(Asked::Call(call, sender)).await.is_err() {
            return Replied::Refused(ApiRefusal::Over);
        }
        reply.await.unwrap_or(Replied::Refused(ApiRefusal::Over))
    }
}

/// Answers one request.
pub(super) async fn handle(calls: &ApiCalls, request: Request<Incoming>) -> Answered {
    let (head, body) = request.into_parts();
    let replied = match route(&head.method, head.uri.path()) {
        Route::Next => calls.call(Call::Next).await,
        Route::Response(id) => respond(calls, id, &head.headers, body).await,
        Route::Error(id) => report_error(calls, Some(id), &head.headers, body).await,
        Route::InitError => report_error(calls, None, &head.headers, body).await,
        Route::Register => return register(calls, &head.headers, body).await,
        Route::ExtensionNext => match identifier(&head.headers) {
            Ok(identifier) => calls.call(Call::ExtensionNext { identifier }).await,
            Err(refusal) => Replied::Refused(refusal),
        },
        Route::ExtensionInitError => {
            discard(body).await;
            extension_error(calls, &head.headers, "Extension.InitError").await
        }
        Route::ExtensionExitError => {
            discard(body).await;
            extension_error(calls, &head.headers, "Extension.ExitError").await
        }
        Route::Telemetry => {
            discard(body).await;
            Replied::Refused(ApiRefusal::Unsupported(NO_TELEMETRY))
        }
        Route::Restore => {
            discard(body).await;
            Replied::Refused(ApiRefusal::Unsupported(NO_RESTORE))
        }
        Route::WrongMethod => return text(405, "405 method not allowed"),
        Route::Unknown => return text(404, "404 page not found"),
    };
    answer(replied, false)
}

// Responses.

async fn respond(calls: &ApiCalls, id: String, headers: &HeaderMap, body: Incoming) -> Replied {
    match header(headers, MODE) {
        None => {}
        Some("streaming") => return stream(calls, id, headers, body).await,
        Some("") => {}
        Some(_) => {
            discard(body).await;
            return Replied::Refused(ApiRefusal::InvalidResponseMode);
        }
    }
    let body = {
        let _turn = calls.body_turn.lock().await;
        match read(body, MAX_RESPONSE_BYTES).await {
            Ok(bytes) => {
                let content_type = header(headers, "content-type").map(str::to_owned);
                ResponseBody::Whole(bytes, content_type)
            }
            Err(ReadError::TooLarge) => ResponseBody::TooLarge,
            Err(ReadError::Broken) => ResponseBody::Truncated,
        }
    };
    let request_id = id;
    calls.call(Call::Response { request_id, body }).await
}

async fn stream(calls: &ApiCalls, id: String, headers: &HeaderMap, body: Incoming) -> Replied {
    let replied = calls.call(Call::Stream { request_id: id }).await;
    let Replied::Stream {
        number,
        head,
        chunks,
    } = replied
    else {
        return replied;
    };
    let content_type = header(headers, "content-type").map(str::to_owned);
    if let Some(head) = head {
        drop(head.send(content_type));
    }
    let end = pass_on(body, chunks).await;
    let replied = match end {
        StreamEnd::TooLarge => Replied::Refused(ApiRefusal::TooLarge),
        StreamEnd::Truncated => Replied::Refused(ApiRefusal::Truncated),
        StreamEnd::Whole | StreamEnd::Failed { .. } => Replied::Accepted,
    };
    drop(calls.asked.send(Asked::StreamEnded(number, end)).await);
    replied
}

/// Passes the body on as the caller takes it. If the caller has gone, the rest is read and dropped: the function goes
/// on as on AWS.
async fn pass_on(mut body: Incoming, chunks: mpsc::Sender<Bytes>) -> StreamEnd {
    let mut passed: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return StreamEnd::Truncated;
        };
        match frame.into_data() {
            Ok(data) => {
                passed = passed.saturating_add(data.len() as u64);
                if passed > MAX_STREAMED_BYTES {
                    return StreamEnd::TooLarge;
                }
                if !data.is_empty() {
                    drop(chunks.send(data).await);
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                if let Some(error_type) = header(&trailers, ERROR_TYPE) {
                    return failed_stream(error_type, header(&trailers, ERROR_BODY));
                }
            }
        }
    }
    StreamEnd::Whole
}

fn failed_stream(error_type: &str, body: Option<&str>) -> StreamEnd {
    let payload = body.and_then(|body| STANDARD.decode_to_vec(body).ok());
    StreamEnd::Failed {
        error_type: runtime_error_type(Some(error_type)),
        payload: payload.unwrap_or_default().into(),
    }
}

async fn report_error(
    calls: &ApiCalls,
    request_id: Option<String>,
    headers: &HeaderMap,
    body: Incoming,
) -> Replied {
    let payload = {
        let _turn = calls.body_turn.lock().await;
        match read(body, MAX_RESPONSE_BYTES).await {
            Ok(payload) => payload,
            Err(ReadError::TooLarge) => return Replied::Refused(ApiRefusal::TooLarge),
            Err(ReadError::Broken) => return Replied::Refused(ApiRefusal::Truncated),
        }
    };
    let error_type = runtime_error_type(header(headers, ERROR_TYPE));
    let call = match request_id {
        Some(request_id) => Call::Error {
            request_id,
            error_type,
            payload,
        },
        None => Call::InitError {
            error_type,
            payload,
        },
    };
    calls.call(call).await
}

// Extensions.

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

async fn register(calls: &ApiCalls, headers: &HeaderMap, body: Incoming) -> Answered {
    let refused = |refusal| answer(Replied::Refused(refusal), false);
    // First: an answer to a request whose body was not read ends the connection.
    let Ok(body) = read(body, MAX_EXTENSION_BODY_BYTES).await else {
        return refused(ApiRefusal::InvalidBody);
    };
    let Some(name) = header(headers, EXTENSION_NAME).filter(|name| is_extension_name(name)) else {
        return refused(ApiRefusal::MissingExtensionName);
    };
    let Ok(registration) = serde_json::from_slice::<Registration>(&body) else {
        return refused(ApiRefusal::InvalidBody);
    };
    let mut events = ExtensionEvents::default();
    for event in registration.events {
        match event.as_str() {
            "INVOKE" => events.invoke = true,
            "SHUTDOWN" => events.shutdown = true,
            _ => {
                return refused(ApiRefusal::InvalidEventType(
                    event.chars().take(64).collect(),
                ));
            }
        }
    }
    let call = Call::Register {
        name: name.to_owned(),
        events,
        identifier: uuid::Uuid::new_v4().to_string(),
    };
    let features = header(headers, ACCEPT_FEATURE).unwrap_or_default();
    let wants_account = features.split(',').any(|one| one.trim() == "accountId");
    answer(calls.call(call).await, wants_account)
}

/// Names of files, and of what libraries call themselves. Bounded, as they are logged.
fn is_extension_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.chars().all(|letter| letter.is_ascii_graphic())
}

fn identifier(headers: &HeaderMap) -> Result<String, ApiRefusal> {
    let text = header(headers, EXTENSION_ID).ok_or(ApiRefusal::MissingIdentifier)?;
    let id = uuid::Uuid::parse_str(text).map_err(|_| ApiRefusal::InvalidIdentifier)?;
    Ok(id.to_string())
}

async fn extension_error(calls: &ApiCalls, headers: &HeaderMap, fallback: &str) -> Replied {
    let identifier = match identifier(headers) {
        Ok(identifier) => identifier,
        Err(refusal) => return Replied::Refused(refusal),
    };
    let Some(error_type) = header(headers, EXTENSION_ERROR_TYPE) else {
        return Replied::Refused(ApiRefusal::MissingErrorType);
    };
    let error_type = extension_error_type(Some(error_type), fallback);
    let call = Call::ExtensionError {
        identifier,
        error_type,
    };
    calls.call(call).await
}

// HTTP.

enum ReadError {
    TooLarge,
    Broken,
}

/// Reads a body within a limit.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, ReadError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ReadError::Broken)?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Err(ReadError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// Reads a body that nobody needs, so that its connection can go on.
async fn discard(body: Incoming) {
    drop(read(body, MAX_EXTENSION_BODY_BYTES).await);
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn answer(replied: Replied, wants_account: bool) -> Answered {
    match replied {
        Replied::Event(delivery) => event(delivery),
        Replied::Accepted | Replied::Stream { .. } => json_answer(202, &json!({"status": "OK"})),
        Replied::Registered {
            identifier,
            function_name,
            function_version,
            handler,
            account,
        } => {
            let mut body = json!({
                "functionName": function_name,
                "functionVersion": function_version,
                "handler": handler,
            });
            if wants_account {
                body["accountId"] = account.into();
            }
            with_header(json_answer(200, &body), EXTENSION_ID, &identifier)
        }
        Replied::Extension(delivery) => with_header(
            json_answer(200, &delivery.body),
            "lambda-extension-event-identifier",
            &delivery.event_id,
        ),
        Replied::Refused(refusal) => {
            let (status, error_type, message) = refusal.parts();
            let body = json!({"errorMessage": message, "errorType": error_type});
            json_answer(status, &body)
        }
    }
}

fn event(delivery: Delivery) -> Answered {
    let mut answer = Response::new(Full::new(delivery.payload));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    let deadline = delivery.deadline_ms.to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", Some(delivery.request_id)),
        ("lambda-runtime-deadline-ms", Some(deadline)),
        (
            "lambda-runtime-invoked-function-arn",
            Some(delivery.invoked_arn),
        ),
        ("lambda-runtime-trace-id", Some(delivery.trace_id)),
        ("lambda-runtime-client-context", delivery.client_context),
        ("lambda-runtime-aws-tenant-id", delivery.tenant),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            answer = with_header(answer, name, &value);
        }
    }
    answer
}

/// Adds a header. Values come from the service; one that HTTP cannot carry is left out.
fn with_header(mut answer: Answered, name: &'static str, value: &str) -> Answered {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn json_answer(status: u16, body: &serde_json::Value) -> Answered {
    let mut answer = text(status, body.to_string());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

fn text(status: u16, text: impl Into<Bytes>) -> Answered {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    answer
}
