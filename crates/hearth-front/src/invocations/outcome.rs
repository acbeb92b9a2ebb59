//! What a caller reads of an invocation.

use hearth_invoke::{Answer, InvokeError, Throttle};
use http::HeaderValue;

use super::invoking::invalid;
use super::trace;
use crate::fault::Fault;
use crate::wire::{Reply, reply};

/// The answer of `Invoke`.
pub(super) fn answered(answer: Answer, executed_version: &str, trace_id: &str) -> Reply {
    let mut reply = reply(200, "application/json", answer.payload);
    let headers = [
        ("x-amz-executed-version", Some(executed_version.to_owned())),
        (
            "x-amz-function-error",
            // Never another word (facts section 2.2).
            answer.function_error.map(|_| "Unhandled".to_owned()),
        ),
        ("x-amz-log-result", answer.log_tail.as_deref().map(base64)),
        ("x-amzn-remapped-content-length", Some("0".to_owned())),
        (trace::HEADER, Some(trace::answered(trace_id))),
    ];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            reply.headers_mut().insert(name, value);
        }
    }
    reply
}

/// Base 64, as logs are answered.
pub(super) fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Why an invocation was not run.
pub(super) fn refusal(error: InvokeError) -> Fault {
    match error {
        InvokeError::Throttled(throttle) => throttled(throttle),
        InvokeError::Role => Fault::new(
            403,
            "AccessDeniedException",
            "The role defined for the function cannot be assumed by Lambda.",
        ),
        InvokeError::Unusable(text) => invalid(text),
        InvokeError::Broken(text) => {
            // It may contain what a guest wrote.
            tracing::error!(?text, "an invocation failed for the host");
            Fault::new(
                500,
                "ServiceException",
                "An internal error occurred. Please retry.",
            )
        }
        InvokeError::Closing => Fault::new(
            503,
            "ServiceException",
            "The service is shutting down. Please retry.",
        ),
    }
}

fn throttled(throttle: Throttle) -> Fault {
    let mut fault = Fault::new(429, "TooManyRequestsException", "Rate Exceeded.").retry_after(1);
    fault.reason = Some(throttle.reason());
    fault
}
