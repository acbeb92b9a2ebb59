//! A terminal in a guest: the WebSocket shell of an endpoint.
//!
//! ```text
//! both:   binary = raw bytes of the terminal
//! client: text {"type":"resize","cols":N,"rows":N}
//! server: text {"type":"session_init",...} first, close 1000 when the shell exits
//! ```

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::Client;
use crate::connection::{Address, Stream};
use crate::endpoint::{AUTH, PORT};
use crate::error::{ClientError, Refusal};

/// The port that means the shell.
const SHELL_PORT: u16 = 8022;

type Socket = WebSocketStream<Box<dyn Stream>>;

/// An open shell. Dropping both halves hangs up.
pub struct Shell {
    /// What the terminal shows.
    pub output: ShellOutput,
    /// What is typed.
    pub input: ShellSender,
}

/// What the terminal shows.
pub struct ShellOutput(SplitStream<Socket>);

/// What is typed.
pub struct ShellSender(SplitSink<Socket, Message>);

impl ShellOutput {
    /// The next bytes; `None` when the shell has exited.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(message) = self.0.next().await {
            match message.map_err(failed)? {
                Message::Binary(bytes) => return Ok(Some(bytes)),
                Message::Close(_) => break,
                // The session's name, and what the library answers by itself.
                _ => {}
            }
        }
        Ok(None)
    }
}

impl ShellSender {
    /// Types.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        self.0.send(Message::Binary(bytes)).await.map_err(failed)
    }

    /// Tells the size of the terminal.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), ClientError> {
        let resize = json!({"type": "resize", "cols": columns, "rows": rows});
        self.0
            .send(Message::text(resize.to_string()))
            .await
            .map_err(failed)
    }
}

impl Client {
    /// Opens a shell with a token of `CreateMicrovmShellAuthToken`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn shell(&self, endpoint: &str, token: &str) -> Result<Shell, ClientError> {
        let address = Address::of_endpoint(endpoint)?;
        let stream = self.connector.connect(&address).await?;
        let authority = address.authority();
        let request = Request::builder()
            .uri(format!("wss://{authority}/shell"))
            .header(HOST, &authority)
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "upgrade")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key())
            .header(AUTH, token)
            .header(PORT, SHELL_PORT)
            .body(())?;
        let (socket, _) = client_async(request, stream).await.map_err(failed)?;
        let (input, output) = socket.split();
        Ok(Shell {
            output: ShellOutput(output),
            input: ShellSender(input),
        })
    }
}

/// Turns a handshake that was answered with an HTTP status into a refusal.
fn failed(error: Error) -> ClientError {
    match error {
        Error::Http(answer) => Refusal::read(
            "the shell",
            answer.status().as_u16(),
            None,
            answer.body().as_deref().unwrap_or_default(),
        )
        .into(),
        other => ClientError::Shell(Box::new(other)),
    }
}
