//! One session of a shell, from the WebSocket handshake to the close.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use crate::backend::{Shell, ShellInput, TerminalSize};
use crate::per_microvm::PerMicrovm;
use crate::traffic::Direction;

/// Largest message of a client: a large paste.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Typed input is small, and every idle shell would keep the library's default of 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// How long a client may take to answer a close.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// Runs until the shell exits or the client disconnects, which hangs up.
pub(super) async fn run<S>(stream: S, shell: Shell, per_microvm: &PerMicrovm)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (mut sink, mut messages) = socket.split();
    let Shell { output, input } = shell;
    // Two concurrent loops: a shell whose output is not read may not read its input either, so neither loop may wait
    // for the other.
    let has_exited = tokio::select! {
        shown = show(output, &mut sink, per_microvm) => shown.is_ok(),
        () = listen(&mut messages, input, per_microvm) => false,
    };
    if has_exited {
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "shell exited".into(),
        };
        let closing = async {
            sink.send(Message::Close(Some(close))).await?;
            while messages.next().await.transpose()?.is_some() {}
            Ok::<_, Error>(())
        };
        let _ = tokio::time::timeout(CLOSE_TIME, closing).await;
    }
}

/// Sends the output of the terminal until the shell exits.
async fn show(
    mut output: mpsc::Receiver<Bytes>,
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    per_microvm: &PerMicrovm,
) -> Result<(), Error> {
    let session = format!(
        r#"{{"type":"session_init","session_id":"{}"}}"#,
        Uuid::new_v4()
    );
    sink.send(Message::text(session)).await?;
    while let Some(bytes) = output.recv().await {
        let wait = per_microvm.traffic.pass(Direction::Down, bytes.len());
        sink.send(Message::Binary(bytes)).await?;
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

/// Handles messages of the client until it disconnects or the shell takes no more input.
async fn listen(
    messages: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    input: mpsc::Sender<ShellInput>,
    per_microvm: &PerMicrovm,
) {
    while let Some(Ok(message)) = messages.next().await {
        let wait = per_microvm.traffic.pass(Direction::Up, message.len());
        let did = match message {
            Message::Text(text) => meaning(Bytes::from(text)),
            Message::Binary(bytes) => ShellInput::Bytes(bytes),
            // The library answers pings and closes while it waits for the next message.
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if input.send(did).await.is_err() {
            // The shell is exiting. Its last output is still being sent.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(wait).await;
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Control {
    Resize { cols: u16, rows: u16 },
}

/// A text is a resize message, or else typed input.
fn meaning(text: Bytes) -> ShellInput {
    match serde_json::from_slice(&text) {
        Ok(Control::Resize { cols, rows }) => ShellInput::Resize(TerminalSize { cols, rows }),
        Err(_) => ShellInput::Bytes(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_resize_is_not_typed() {
        let meaning = |text: &'static str| meaning(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            meaning(r#"{"type":"resize","cols":80,"rows":24}"#),
            ShellInput::Resize(TerminalSize { cols: 80, rows: 24 })
        );
        for typed in [
            "ls\n",
            "{}",
            r#"{"type":"resize"}"#,
            r#"{"type":"resize","cols":-1,"rows":1}"#,
        ] {
            assert_eq!(
                meaning(typed),
                ShellInput::Bytes(Bytes::from_static(typed.as_bytes()))
            );
        }
    }
}
