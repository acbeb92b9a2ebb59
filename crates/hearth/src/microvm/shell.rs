//! `hearth shell`: a terminal in a microVM, over the WebSocket of its endpoint.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_client::{Client, ShellOutput, ShellSender};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::token::of_answer;
use crate::cli::microvm::OneMicrovm;
use crate::shared::Shared;
use crate::terminal::{self, INPUT_BYTES, RawTerminal};
use crate::view::text;
use crate::{names, output};

/// Only the handshake needs the token.
const TOKEN_MINUTES: u32 = 1;

pub(crate) async fn shell(
    _shared: &Shared,
    client: &Client,
    arguments: OneMicrovm,
) -> Result<ExitCode> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("standard input is no terminal; `hearth exec -i ID sh` has any input");
    }
    let id = names::microvm(client, &arguments.microvm).await?;
    let token = client.shell_token(&id, TOKEN_MINUTES).await?;
    let microvm = client.microvm(&id).await?;
    let shell = client
        .shell(text(&microvm, "endpoint"), of_answer(&token)?)
        .await?;
    let resized = signal(SignalKind::window_change())?;
    let raw = RawTerminal::enter()?;
    let shown = tokio::select! {
        shown = show(shell.output) => shown,
        typed = pass_on(shell.input, resized) => typed,
    };
    drop(raw);
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the shell's output until the shell exits.
async fn show(mut output: ShellOutput) -> Result<()> {
    while let Some(bytes) = output.next().await? {
        output::bytes(&bytes)?;
    }
    Ok(())
}

/// Passes on the keystrokes and the size of our terminal.
async fn pass_on(mut input: ShellSender, mut resized: Signal) -> Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; INPUT_BYTES];
    tell_size(&mut input).await?;
    loop {
        tokio::select! {
            count = stdin.read(&mut buffer) => {
                let count = count.context("cannot read what is typed")?;
                if count == 0 {
                    // Our terminal is gone; the shell ends with us.
                    return Ok(());
                }
                input.send(Bytes::copy_from_slice(&buffer[..count])).await?;
            }
            _ = resized.recv() => tell_size(&mut input).await?,
        }
    }
}

async fn tell_size(input: &mut ShellSender) -> Result<()> {
    let (columns, rows) = terminal::size()?;
    Ok(input.resize(columns, rows).await?)
}
