//! The shell: a terminal in the guest over a WebSocket (facts section 10).
//!
//! ```text
//! server: text {"type":"session_init","session_id":"<uuid>"}
//! both:   binary = raw bytes of the terminal; text from the client is typed input as well, except
//! client: text {"type":"resize","cols":N,"rows":N}
//! server: close 1000 "shell exited"
//! ```

mod session;

use std::sync::Arc;

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::backend::{Backend, TerminalSize};
use crate::client::Client;
use crate::credentials::BASE_SUBPROTOCOL;
use crate::download::Download;
use crate::per_microvm::PerMicrovm;
use crate::reason::NoAnswer;
use crate::reply::{REQUEST_ID, Refusal, RequestId};

/// The port that stands for the shell.
pub(crate) const PORT: u16 = 8022;

/// A client that asks for a shell.
pub(crate) struct ShellClient {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) client: Arc<Client>,
    pub(crate) per_microvm: Arc<PerMicrovm>,
}

impl ShellClient {
    /// Starts a shell and completes the WebSocket handshake. The session then runs in a task of its own.
    pub(crate) async fn open(
        self,
        mut request: Request<Incoming>,
        is_websocket: bool,
        offered_base: bool,
        id: &RequestId,
    ) -> Result<Response<Download>, Refusal> {
        let is_shell = matches!(request.uri().path(), "/" | "/shell");
        if !is_websocket || !is_shell {
            return Err(Refusal::BadGateway(NoAnswer::NoWebSocket));
        }
        let accept = accept_key(request.headers())?;
        // AWS starts the terminal without a size. The client's first resize sets it.
        let opening = self
            .backend
            .shell(self.per_microvm.id, TerminalSize::default());
        let shell = opening.await.map_err(|error| {
            tracing::debug!(microvm = %self.per_microvm.id, error = &error as &dyn std::error::Error, "no shell");
            Refusal::BadGateway(NoAnswer::NoShell)
        })?;
        let on_client = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(stream) = on_client.await {
                session::run(TokioIo::new(stream), shell, &self.per_microvm).await;
            }
            // The client counts as connected until here.
            drop(self.client);
        });
        Ok(switching(accept, offered_base, id))
    }
}

fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refusal::Malformed);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or(Refusal::Malformed)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Refusal::Malformed)
}

fn switching(accept: HeaderValue, offered_base: bool, id: &RequestId) -> Response<Download> {
    let mut response = Response::new(Download::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(REQUEST_ID, id.0.clone());
    if offered_base {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(BASE_SUBPROTOCOL),
        );
    }
    response
}
