//! `hearth exec`: a process in a microVM, its streams joined with ours.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hearth_client::{Client, ExecEvent, ExecRequest};

use crate::cli::microvm::ExecArguments;
use crate::shared::Shared;
use crate::{failure, names, output};

/// The exit status when there is none of the process, as of `docker exec`.
const NO_STATUS: u8 = 125;

/// Most standard input: it travels within a request of 6 MiB, in base64.
const MAX_STDIN_BYTES: u64 = 4 << 20;

pub(crate) async fn exec(
    _shared: &Shared,
    client: &Client,
    arguments: ExecArguments,
) -> Result<ExitCode> {
    match status(client, arguments).await {
        Ok(status) => Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))),
        Err(error) => {
            // Ours must not be taken for a status of the process.
            failure::tell(&error);
            Ok(ExitCode::from(NO_STATUS))
        }
    }
}

async fn status(client: &Client, arguments: ExecArguments) -> Result<i32> {
    let id = names::microvm(client, &arguments.one.microvm).await?;
    let stdin = if arguments.interactive {
        read_stdin()?
    } else {
        Vec::new()
    };
    let request = ExecRequest {
        command: arguments.command,
        env: arguments
            .env
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect(),
        cwd: arguments.workdir,
        user: arguments.user,
        stdin,
        timeout_s: arguments.timeout,
    };
    let mut process = client.exec(&id, &request).await?;
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

fn read_stdin() -> Result<Vec<u8>> {
    let mut content = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_STDIN_BYTES + 1)
        .read_to_end(&mut content)
        .context("cannot read standard input")?;
    if content.len() as u64 > MAX_STDIN_BYTES {
        bail!("standard input is larger than 4 MiB; bring it in with `hearth cp`");
    }
    Ok(content)
}
