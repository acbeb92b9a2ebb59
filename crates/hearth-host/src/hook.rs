//! Calls of an application about its own life: one HTTP request over a stream into the guest (facts section 7).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use hearth_control::hooks::{ActiveHook, HookOutcome};
use hearth_node::{AgentClient, AgentError};
use hearth_wire::agent::Refusal;
use http::{Method, Request, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// Where every hook is.
const PATH: &str = "/aws/lambda-microvms/runtime/v1";

/// `ECONNREFUSED` of Linux, as the guest's kernel numbers it.
pub(crate) const CONNECTION_REFUSED: i32 = 111;

/// Calls a hook once. The answer's body is not read: only the status counts, and the guest could send for ever.
pub(crate) async fn call(
    agent: &AgentClient,
    hook: &ActiveHook,
    body: Option<String>,
) -> HookOutcome {
    tokio::time::timeout(hook.timeout, exchange(agent, hook, body))
        .await
        .unwrap_or(HookOutcome::TimedOut)
}

async fn exchange(agent: &AgentClient, hook: &ActiveHook, body: Option<String>) -> HookOutcome {
    let stream = match agent.proxy(hook.port).await {
        Ok(stream) => stream,
        Err(error) if is_refused(&error) => return HookOutcome::Refused,
        Err(_) => return HookOutcome::Broken,
    };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return HookOutcome::Broken;
    };
    let Some(request) = request(hook, body) else {
        return HookOutcome::Broken;
    };
    // The connection makes progress only while it is polled, and ends with this call. When the application has
    // closed it, its answer may have come before.
    let answer = std::pin::pin!(sender.send_request(request));
    let answered = match select(answer, connection).await {
        Either::Left((answered, _)) => answered,
        Either::Right((_, answer)) => answer.await,
    };
    match answered {
        Ok(answer) if answer.status().as_u16() == 200 => HookOutcome::Done,
        Ok(answer) => HookOutcome::Status(answer.status().as_u16()),
        Err(_) => HookOutcome::Broken,
    }
}

fn request(hook: &ActiveHook, body: Option<String>) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{PATH}/{}", hook.hook.path_name()))
        .header(header::HOST, format!("localhost:{}", hook.port))
        // A connection that survived a freeze would be of no use after it.
        .header(header::CONNECTION, "close");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map(Bytes::from).unwrap_or_default();
    request.body(Full::new(body)).ok()
}

/// Whether nobody listened on the port.
pub fn is_refused(error: &AgentError) -> bool {
    matches!(error, AgentError::Refused(Refusal::Os { errno, .. }) if *errno == CONNECTION_REFUSED)
}

/// Pause between two calls of a hook that asks for patience, and between two looks at a port.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(250);
