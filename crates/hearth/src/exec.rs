//! `hearth machine exec`: a command in a microVM, its streams joined with ours.

use std::process::ExitCode;

use anyhow::Result;
use hearth_node::{AgentClient, ExecWriter};
use hearth_wire::agent::{ExecInput, ExecOutput, ExecSpec, ExitStatus, MAX_CHUNK_BYTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a shell answers for a command that a signal ended: 128 and the number.
const SIGNAL_BASE: i32 = 128;

pub(crate) async fn run(agent: &AgentClient, spec: ExecSpec) -> Result<ExitCode> {
    let (mut output, input) = agent.exec(spec).await?.split();
    let feeder = tokio::spawn(feed(input));
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let status = loop {
        match output.next().await? {
            ExecOutput::Stdout(bytes) => stdout.write_all(&bytes).await?,
            ExecOutput::Stderr(bytes) => stderr.write_all(&bytes).await?,
            // Of programs of functions alone.
            ExecOutput::Framed(_) => {}
            ExecOutput::Exit(status) => break status,
        }
    };
    stdout.flush().await?;
    stderr.flush().await?;
    feeder.abort();
    Ok(exit_code(status))
}

/// The exit status as a shell would give it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => SIGNAL_BASE + signal,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Passes our standard input on until it ends. The writer is kept: closing it would kill the process.
async fn feed(mut input: ExecWriter) -> Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; MAX_CHUNK_BYTES];
    loop {
        let count = stdin.read(&mut buffer).await?;
        if count == 0 {
            input.send(&ExecInput::StdinEnd).await?;
            return std::future::pending().await;
        }
        input
            .send(&ExecInput::Stdin(buffer[..count].to_vec()))
            .await?;
    }
}
