//! `hearth function logs`: what a function wrote, through CloudWatch Logs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use hearth_client::{Client, LogEvent};

use crate::cli::function::FunctionLogsArguments;
use crate::microvm::logs::{Tail, shown};
use crate::output;
use crate::shared::Shared;
use crate::view::text;

/// Pause between two reads.
const POLL: Duration = Duration::from_millis(500);

pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    arguments: &FunctionLogsArguments,
) -> Result<ExitCode> {
    let configuration = client.function_configuration(&arguments.function).await?;
    let group = text(&configuration["LoggingConfig"], "LogGroup");
    let mut tail = Tail::default();
    let mut kept = arguments.tail;
    loop {
        let mut events = tail.read(client, group, None).await?;
        if let Some(kept) = kept.take() {
            events.drain(..events.len().saturating_sub(kept));
        }
        print(shared, &events)?;
        if !arguments.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn print(shared: &Shared, events: &[LogEvent]) -> Result<()> {
    for event in events {
        if shared.json {
            output::say(&serde_json::to_string(event)?)?;
        } else {
            output::say(&shown(event.message.trim_end_matches('\n')))?;
        }
    }
    Ok(())
}
