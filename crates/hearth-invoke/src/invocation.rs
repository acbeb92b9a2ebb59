//! An invocation on its way to an environment, and its answer on the way back.

use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::limits::STREAM_QUEUE;

/// Something that is done before the runtime gets an event.
pub(crate) type BeforeDelivery = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a caller asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The request id that the function sees.
    pub request_id: String,
    /// The ARN as it was invoked, with its qualifier.
    pub invoked_arn: String,
    /// The event: JSON.
    pub payload: Bytes,
    /// The client context: JSON.
    pub client_context: Option<String>,
    /// The value of `X-Amzn-Trace-Id`.
    pub trace_id: String,
    /// Whether the caller wants the end of the log. The answer then waits for the report.
    pub wants_log_tail: bool,
}

/// The answer to an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the function answered, or the error payload.
    pub payload: Bytes,
    /// The error type, if the function failed.
    pub function_error: Option<String>,
    /// The end of the log, if it was asked for.
    pub log_tail: Option<Vec<u8>>,
}

/// An answer that comes bit by bit.
#[derive(Debug)]
pub struct StreamedAnswer {
    /// The type that the function gave its answer.
    pub content_type: Option<String>,
    /// What has arrived, in order. Closes at the end.
    pub chunks: mpsc::Receiver<Bytes>,
    /// How it ended. The payload is only that of an error.
    pub end: oneshot::Receiver<Result<Answer, InvokeError>>,
}

/// Why an invocation was not run, or has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// Too much at once.
    #[error("throttled: {}", .0.reason())]
    Throttled(Throttle),
    /// The runtime is not there, or the code cannot be used. The text is for the caller.
    #[error("{0}")]
    Unusable(String),
    /// The execution role cannot be assumed.
    #[error("the execution role cannot be assumed")]
    Role,
    /// The host failed: the invocation may have run. The text is for the log.
    #[error("the host failed: {0}")]
    Broken(String),
    /// The service ends.
    #[error("the service is shutting down")]
    Closing,
}

/// What was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Throttle {
    /// The account's concurrency.
    Account,
    /// The function's reserved concurrency.
    Reserved,
    /// Invocations per second of a function without a reservation.
    Rate,
    /// Invocations per second of a function with a reservation.
    ReservedRate,
    /// New environments per ten seconds.
    Scaling,
    /// The host has no room.
    Host,
}

impl Throttle {
    /// The reason as the service gives it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Account | Self::Scaling | Self::Host => "ConcurrentInvocationLimitExceeded",
            Self::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::Rate => "FunctionInvocationRateLimitExceeded",
            Self::ReservedRate => "ReservedFunctionInvocationRateLimitExceeded",
        }
    }
}

/// Where an environment's task puts the answer.
#[derive(Debug)]
pub(crate) struct AnswerSink {
    /// Told once: the content type, when the first byte may come.
    pub(crate) head: Option<oneshot::Sender<Option<String>>>,
    pub(crate) chunks: Option<mpsc::Sender<Bytes>>,
    pub(crate) end: Option<oneshot::Sender<Result<Answer, InvokeError>>>,
}

/// The caller's side of an [`AnswerSink`].
#[derive(Debug)]
pub(crate) struct AnswerSource {
    pub(crate) head: oneshot::Receiver<Option<String>>,
    pub(crate) chunks: mpsc::Receiver<Bytes>,
    pub(crate) end: oneshot::Receiver<Result<Answer, InvokeError>>,
}

/// A pair of both sides.
pub(crate) fn answer_channel() -> (AnswerSink, AnswerSource) {
    let (head, head_source) = oneshot::channel();
    let (chunks, chunk_source) = mpsc::channel(STREAM_QUEUE);
    let (end, end_source) = oneshot::channel();
    let sink = AnswerSink {
        head: Some(head),
        chunks: Some(chunks),
        end: Some(end),
    };
    let source = AnswerSource {
        head: head_source,
        chunks: chunk_source,
        end: end_source,
    };
    (sink, source)
}
