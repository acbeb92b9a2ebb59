//! `Invoke`: running a function.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::client::{Call, Client, read};
use crate::error::ClientError;
use crate::functions::function_path;
use crate::microvms::with_query;
use crate::payload::Payload;

const OPERATION: &str = "Invoke";

/// How long an answer may take: the longest timeout of a function, half an hour, and the start of its environment.
const ANSWER_TIME: Duration = Duration::from_secs(2100);

/// Largest answer that is read: functions may answer 6 MiB.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct InvokeRequest<'a> {
    /// Name or ARN, perhaps with a qualifier.
    pub function: &'a str,
    /// A version or an alias.
    pub qualifier: Option<&'a str>,
    /// The event; empty for `{}`.
    pub payload: Bytes,
    /// What is waited for.
    pub wait: InvokeWait,
}

/// What an invocation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeWait {
    /// For the answer.
    Answer,
    /// For the answer and the end of the log.
    AnswerAndLog,
    /// Until the event is stored.
    Stored,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvokeAnswer {
    /// The HTTP status: 200, or 202 if the event was stored.
    pub status: u16,
    /// The version that ran; none if the event was stored.
    pub executed_version: Option<String>,
    /// Whether the payload is an error, as the service says it: `Unhandled`.
    pub function_error: Option<String>,
    /// The end of the log, if it was asked for.
    pub log_tail: Option<String>,
    /// The answer, or the error's object.
    pub payload: Bytes,
}

impl Client {
    /// `Invoke`. Sent once: a function that has begun must not run twice because its answer was lost.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; an error of the function is an answer.
    pub async fn invoke(&self, request: InvokeRequest<'_>) -> Result<InvokeAnswer, ClientError> {
        let path = format!("{}/invocations", function_path(request.function));
        let qualifier = request.qualifier.map(|name| ("Qualifier", name));
        let path = with_query(&path, qualifier.into_iter());
        let mut call = Call::lambda(OPERATION, Method::POST, path);
        match request.wait {
            InvokeWait::Answer => {}
            InvokeWait::AnswerAndLog => call.headers.push(("x-amz-log-type", "Tail")),
            InvokeWait::Stored => call.headers.push(("x-amz-invocation-type", "Event")),
        }
        let payload = Payload::from(request.payload);
        let answer = self.send_within(&call, payload, ANSWER_TIME).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(InvokeAnswer {
            status,
            executed_version: text(&headers, "x-amz-executed-version"),
            function_error: text(&headers, "x-amz-function-error"),
            log_tail: text(&headers, "x-amz-log-result").map(|log| decoded(&log)),
            payload: read(OPERATION, answer, MAX_ANSWER_BYTES).await?,
        })
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The text behind base 64. What is no base 64 is shown as it is.
fn decoded(base64: &str) -> String {
    match base64_simd::STANDARD.decode_to_vec(base64) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => base64.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_decoded() {
        assert_eq!(decoded("aGkK"), "hi\n");
        assert_eq!(decoded("no base 64"), "no base 64");
        // The service may have cut a character in two.
        assert_eq!(decoded("qWhp"), "\u{fffd}hi");
    }
}
