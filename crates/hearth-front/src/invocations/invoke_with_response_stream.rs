//! `InvokeWithResponseStream`: runs a function and passes its answer on as it comes (facts section 2.7).

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::unfold;
use hearth_invoke::{Answer, InvokeError, StreamedAnswer, whole_chunk};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;

use super::event_stream::message;
use super::invoking::{Invocations, Invoking};
use super::named::Named;
use super::outcome::{base64, refusal};
use super::request::{InvocationType, Request};
use super::trace;
use crate::call::Call;
use crate::fault::Fault;
use crate::function_service::FunctionService;
use crate::wire::{Body, BodyError, Reply, reply};

const TYPES: &[InvocationType] = &[InvocationType::RequestResponse, InvocationType::DryRun];

/// The type of the bytes of a chunk, and of the whole when the function names none.
const BYTES: &str = "application/octet-stream";

pub(super) async fn perform(
    functions: &FunctionService,
    invocations: &Invocations,
    mut call: Call,
) -> Result<Reply, Fault> {
    let named = Named::read(&call)?;
    named.authorize(&call, Invoking::InvokeWithResponseStream)?;
    let request = Request::read(&mut call, TYPES)?;
    let runnable = named.resolve(functions, request.tenant.clone()).await?;
    if request.invocation_type == InvocationType::DryRun {
        return Ok(reply(204, "application/json", ""));
    }
    let trace_id = request.trace_id.clone();
    let invocation = request.invocation(call.request_id, runnable.invoked_arn);
    let version = runnable.version;
    let answer = invocations.invoker.invoke_streaming(&version, invocation);
    let answer = answer.await.map_err(refusal)?;
    Ok(streamed(answer, &version.spec.version, &trace_id))
}

fn streamed(answer: StreamedAnswer, executed_version: &str, trace_id: &str) -> Reply {
    let content_type = answer.content_type.clone();
    let mut reply = Response::new(body(answer));
    let headers = [
        (
            "content-type",
            "application/vnd.amazon.eventstream".to_owned(),
        ),
        ("x-amz-executed-version", executed_version.to_owned()),
        (
            "x-amzn-remapped-content-type",
            content_type.unwrap_or_else(|| BYTES.to_owned()),
        ),
        (trace::HEADER, trace::answered(trace_id)),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            reply.headers_mut().insert(name, value);
        }
    }
    reply
}

/// Where a stream of messages is.
struct Messages {
    /// `None` once the end has been told.
    answer: Option<StreamedAnswer>,
    has_chunk: bool,
    ready: VecDeque<Bytes>,
}

fn body(answer: StreamedAnswer) -> Body {
    let messages = Messages {
        answer: Some(answer),
        has_chunk: false,
        ready: VecDeque::new(),
    };
    let frames = unfold(messages, |mut messages| async {
        let bytes = messages.next().await?;
        Some((Ok::<_, BodyError>(Frame::data(bytes)), messages))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl Messages {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        let answer = self.answer.as_mut()?;
        if let Some(bytes) = answer.chunks.recv().await {
            self.has_chunk = true;
            return Some(chunk(&bytes));
        }
        let answer = self.answer.take()?;
        let end = answer.end.await;
        let lost = || InvokeError::Broken("the environment was lost".to_owned());
        let end = end.unwrap_or_else(|_| Err(lost()));
        // A function that does not stream answers with one chunk.
        let whole = end.as_ref().ok().and_then(whole_chunk);
        if let Some(bytes) = whole.filter(|_| !self.has_chunk) {
            self.ready.push_back(chunk(&bytes));
        }
        self.ready.push_back(complete(end));
        self.ready.pop_front()
    }
}

fn chunk(bytes: &[u8]) -> Bytes {
    message("PayloadChunk", BYTES, bytes)
}

fn complete(end: Result<Answer, InvokeError>) -> Bytes {
    let mut body = json!({});
    match end {
        Ok(answer) => {
            if let Some(error_type) = answer.function_error {
                body["ErrorCode"] = error_type.into();
                let details = String::from_utf8_lossy(&answer.payload);
                body["ErrorDetails"] = details.into();
            }
            if let Some(tail) = answer.log_tail {
                body["LogResult"] = base64(&tail).into();
            }
        }
        Err(error) => {
            let fault = refusal(error);
            body["ErrorCode"] = fault.code.into();
            body["ErrorDetails"] = fault.message.into();
        }
    }
    let body = body.to_string();
    message("InvokeComplete", "application/json", body.as_bytes())
}
