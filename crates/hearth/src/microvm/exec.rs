//! `hearth exec`: a process in a microVM, its streams joined with ours.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hearth_client::{Client, ClientError, ExecEvent, ExecHandle, ExecRequest, ExecSender};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::microvm::ExecArguments;
use crate::refused::ShellLine;
use crate::shared::Shared;
use crate::terminal::{self, INPUT_BYTES, RawTerminal};
use crate::{failure, names, output};

/// The exit status if the process has none, as of `docker exec`.
const NO_STATUS: u8 = 125;

pub(crate) async fn exec(
    _shared: &Shared,
    client: &Client,
    arguments: ExecArguments,
) -> Result<ExitCode> {
    match status(client, arguments).await {
        Ok(status) => Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))),
        Err(error) => {
            // Our own exit status must not be mistaken for one of the process.
            failure::tell(&error);
            Ok(ExitCode::from(NO_STATUS))
        }
    }
}

async fn status(client: &Client, arguments: ExecArguments) -> Result<i32> {
    let id = names::microvm(client, &arguments.one.microvm).await?;
    let variables = arguments.env.into_iter();
    let mut request = ExecRequest {
        command: arguments.command,
        env: variables
            .map(|variable| (variable.name, variable.value))
            .collect(),
        cwd: arguments.workdir,
        user: arguments.user,
        terminal: None,
        timeout_s: arguments.timeout,
    };
    let explain = |command: &[String], error: ClientError| {
        let line = ShellLine::of(command, &error);
        let error = anyhow::Error::from(error);
        match line {
            Some(line) => error.context(line),
            None => error,
        }
    };
    if !arguments.tty && !arguments.interactive {
        let started = client.exec(&id, &request).await;
        return show(started.map_err(|error| explain(&request.command, error))?).await;
    }
    if arguments.tty {
        if !io::stdin().is_terminal() {
            bail!("standard input is no terminal; leave --tty out");
        }
        request.terminal = Some(terminal::size()?);
    }
    let started = client.converse(&id, &request).await;
    let (process, input) = started.map_err(|error| explain(&request.command, error))?;
    let raw = arguments.tty.then(RawTerminal::enter).transpose()?;
    let status = tokio::select! {
        status = show(process) => status,
        never = feed(input, arguments.tty) => never,
    };
    drop(raw);
    status
}

/// Prints the process's output until the process exits.
async fn show(mut process: ExecHandle) -> Result<i32> {
    loop {
        match process.next().await? {
            ExecEvent::Stdout(bytes) => output::bytes(&bytes)?,
            ExecEvent::Stderr(bytes) => io::stderr()
                .write_all(&bytes)
                .context("cannot write to standard error")?,
            ExecEvent::Exited(status) => return Ok(status),
        }
    }
}

/// Passes on our standard input until its end, and the size of our terminal. Returns only on failure: `show` returns at
/// the process's end.
async fn feed(input: ExecSender, has_terminal: bool) -> Result<i32> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; INPUT_BYTES];
    let mut listens = true;
    while listens {
        listens = tokio::select! {
            count = stdin.read(&mut buffer) => {
                match count.context("cannot read standard input")? {
                    0 => {
                        input.end().await;
                        break;
                    }
                    count => input.stdin(&buffer[..count]).await,
                }
            }
            _ = resized.recv(), if has_terminal => {
                let (columns, rows) = terminal::size()?;
                input.resize(columns, rows).await
            }
        };
    }
    // The input is kept until the process has ended.
    std::future::pending().await
}
