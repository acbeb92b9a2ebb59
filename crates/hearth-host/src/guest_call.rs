//! Guest calls: one HTTP request to the application over a stream into the guest.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use hearth_control::guest_call::{CallOutcome, GuestCall};
use hearth_node::{AgentClient, AgentError};
use hearth_wire::agent::Refusal;
use http::{Method, Request, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// `ECONNREFUSED` of Linux, as the guest's kernel numbers it.
pub(crate) const CONNECTION_REFUSED: i32 = 111;

/// Calls an application once. The answer's body is not read: only the status counts, and a guest could send
/// without end.
pub(crate) async fn call(agent: &AgentClient, call: GuestCall) -> CallOutcome {
    tokio::time::timeout(call.timeout, exchange(agent, call))
        .await
        .unwrap_or(CallOutcome::TimedOut)
}

async fn exchange(agent: &AgentClient, call: GuestCall) -> CallOutcome {
    let stream = match agent.proxy(call.port).await {
        Ok(stream) => stream,
        Err(error) if is_refused(&error) => return CallOutcome::Refused,
        Err(_) => return CallOutcome::Broken,
    };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return CallOutcome::Broken;
    };
    let Some(request) = request(call) else {
        return CallOutcome::Broken;
    };
    // The connection makes progress only while it is polled, and ends with this call. The application may close it
    // right after its answer, so the answer is looked for once more.
    let answer = std::pin::pin!(sender.send_request(request));
    let answered = match select(answer, connection).await {
        Either::Left((answered, _)) => answered,
        Either::Right((_, answer)) => answer.await,
    };
    match answered {
        Ok(answer) if answer.status().as_u16() == 200 => CallOutcome::Done,
        Ok(answer) => CallOutcome::Status(answer.status().as_u16()),
        Err(_) => CallOutcome::Broken,
    }
}

fn request(call: GuestCall) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(call.path)
        .header(header::HOST, format!("localhost:{}", call.port))
        // A connection must not be kept: it would be broken after a freeze.
        .header(header::CONNECTION, "close");
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = call.body.map(Bytes::from).unwrap_or_default();
    request.body(Full::new(body)).ok()
}

/// Whether the guest's kernel refused the connection: nothing listens on the port.
pub fn is_refused(error: &AgentError) -> bool {
    matches!(error, AgentError::Refused(Refusal::Os { errno, .. }) if *errno == CONNECTION_REFUSED)
}

/// Pause between two calls of a hook that is not ready, and between two connection attempts to a port.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(250);
