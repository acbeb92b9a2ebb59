//! A shell on a terminal in a guest: the endpoint's channels on one side, an exec of the agent on the other.

use std::collections::BTreeMap;

use bytes::Bytes;
use hearth_endpoint::{OpenError, Shell, ShellInput, TerminalSize};
use hearth_node::{AgentClient, ExecReader, ExecWriter};
use hearth_wire::agent::{ExecInput, ExecOutput, ExecPlace, ExecSpec, MAX_CHUNK_BYTES};
use tokio::sync::mpsc;

use hearth_host::retry_while_frozen;

/// Pieces that may wait in either direction; then the sender waits.
const QUEUE: usize = 16;

/// The login shell: bash where the image has it.
const COMMAND: &str = "command -v bash >/dev/null 2>&1 && exec bash -l; exec sh -l";

pub(crate) async fn open(agent: &AgentClient, size: TerminalSize) -> Result<Shell, OpenError> {
    let spec = ExecSpec {
        argv: ["/bin/sh", "-c", COMMAND].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned())]),
        cwd: String::new(),
        user: "0:0".to_owned(),
        tty: Some(terminal_size(size)),
        place: ExecPlace::Application,
    };
    let exec = retry_while_frozen(|| agent.exec(spec.clone()))
        .await
        .map_err(|error| OpenError::Unreachable(Box::new(error)))?;
    let (reader, writer) = exec.split();
    let (output_sender, output) = mpsc::channel(QUEUE);
    let (input, input_receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        // Either end ends the shell: dropping both halves of the exec kills the process.
        tokio::select! {
            () = show(reader, output_sender) => {}
            () = feed(writer, input_receiver) => {}
        }
    });
    Ok(Shell { output, input })
}

async fn show(mut reader: ExecReader, output: mpsc::Sender<Bytes>) {
    while let Ok(ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes)) = reader.next().await {
        if output.send(bytes.into()).await.is_err() {
            break;
        }
    }
}

async fn feed(mut writer: ExecWriter, mut input: mpsc::Receiver<ShellInput>) {
    while let Some(typed) = input.recv().await {
        let frames = match typed {
            ShellInput::Bytes(bytes) => bytes
                .chunks(MAX_CHUNK_BYTES)
                .map(|piece| ExecInput::Stdin(piece.to_vec()))
                .collect(),
            ShellInput::Resize(size) => vec![ExecInput::Resize(terminal_size(size))],
        };
        for frame in frames {
            if writer.send(&frame).await.is_err() {
                return;
            }
        }
    }
}

/// A terminal has at least one column and one row.
fn terminal_size(size: TerminalSize) -> hearth_wire::agent::TerminalSize {
    hearth_wire::agent::TerminalSize {
        columns: size.cols.max(1),
        rows: size.rows.max(1),
    }
}
