//! `hearth suspend`, `resume`, `fork`, `rm`: asking for a state and waiting for it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hearth_client::Client;
use serde_json::{Value, json};

use super::run::print;
use crate::cli::microvm::{ForkArguments, RemoveArguments, SomeMicrovms};
use crate::shared::Shared;
use crate::view::text;
use crate::{names, output};

/// Pause between two looks at a microVM: its states last tens of milliseconds.
const POLL: Duration = Duration::from_millis(50);

/// How long a microVM may take to a state: on the emulated host its hooks have half an hour at most, and mostly seconds.
const LIMIT: Duration = Duration::from_secs(1800);

/// Waits until a microVM is in a state.
pub(crate) async fn wait(client: &Client, id: &str, wanted: &str) -> Result<Value> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let microvm = client.microvm(id).await?;
        let state = text(&microvm, "state");
        if state == wanted {
            return Ok(microvm);
        }
        if state == "TERMINATED" {
            bail!("{id} is TERMINATED: {}", text(&microvm, "stateReason"));
        }
        if Instant::now() > deadline {
            bail!("{id} is {state} still after {LIMIT:?}, not {wanted}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A state that can be asked for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Suspended,
    Running,
    Terminated,
}

impl Wish {
    fn state(self) -> &'static str {
        match self {
            Self::Suspended => "SUSPENDED",
            Self::Running => "RUNNING",
            Self::Terminated => "TERMINATED",
        }
    }

    async fn ask(self, client: &Client, id: &str) -> Result<()> {
        match self {
            Self::Suspended => client.suspend(id).await?,
            Self::Running => client.resume(id).await?,
            Self::Terminated => client.terminate(id).await?,
        };
        Ok(())
    }
}

pub(crate) async fn suspend(
    shared: &Shared,
    client: &Client,
    arguments: SomeMicrovms,
) -> Result<ExitCode> {
    let ids = ids(client, &arguments.microvms).await?;
    bring(shared, client, &ids, Wish::Suspended, !arguments.no_wait).await
}

pub(crate) async fn resume(
    shared: &Shared,
    client: &Client,
    arguments: SomeMicrovms,
) -> Result<ExitCode> {
    let ids = ids(client, &arguments.microvms).await?;
    bring(shared, client, &ids, Wish::Running, !arguments.no_wait).await
}

pub(crate) async fn remove(
    shared: &Shared,
    client: &Client,
    arguments: RemoveArguments,
) -> Result<ExitCode> {
    let ids = if arguments.all {
        living(client).await?
    } else {
        ids(client, &arguments.microvms).await?
    };
    bring(shared, client, &ids, Wish::Terminated, !arguments.no_wait).await
}

/// Terminates every microVM of the account and waits until they are gone. Answers how many there were.
pub(crate) async fn terminate_all(client: &Client) -> Result<usize> {
    let ids = living(client).await?;
    for id in &ids {
        Wish::Terminated.ask(client, id).await?;
    }
    for id in &ids {
        wait(client, id, Wish::Terminated.state()).await?;
    }
    Ok(ids.len())
}

pub(crate) async fn fork(
    shared: &Shared,
    client: &Client,
    arguments: ForkArguments,
) -> Result<ExitCode> {
    let id = names::microvm(client, &arguments.one.microvm).await?;
    let input = match arguments.max_duration {
        Some(seconds) => json!({"maximumDurationInSeconds": seconds}),
        None => json!({}),
    };
    let mut child = client.fork(&id, &input).await?;
    if arguments.wait {
        child = wait(client, text(&child, "microvmId"), "RUNNING").await?;
    }
    print(shared, &child)
}

/// Everything that was typed is looked up before anything is asked for.
async fn ids(client: &Client, typed: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for typed in typed {
        ids.push(names::microvm(client, typed).await?);
    }
    Ok(ids)
}

async fn living(client: &Client) -> Result<Vec<String>> {
    let all = client.microvms(None).await?;
    let living = all
        .iter()
        .filter(|item| text(item, "state") != "TERMINATED");
    Ok(living
        .map(|item| text(item, "microvmId").to_owned())
        .collect())
}

/// Asks for all, then waits for all: they go on side by side. One that fails does not keep the others from it.
async fn bring(
    shared: &Shared,
    client: &Client,
    ids: &[String],
    wish: Wish,
    waits: bool,
) -> Result<ExitCode> {
    let mut asked = Vec::new();
    for id in ids {
        asked.push(wish.ask(client, id).await);
    }
    let mut answers = Vec::new();
    let mut failures = Vec::new();
    for (id, asked) in ids.iter().zip(asked) {
        let answer = match asked {
            Err(error) => Err(error),
            Ok(()) if waits => wait(client, id, wish.state()).await,
            Ok(()) => client.microvm(id).await.map_err(Into::into),
        };
        match answer {
            Ok(microvm) => {
                if !shared.json {
                    output::say(id)?;
                }
                answers.push(microvm);
            }
            Err(error) => failures.push(error),
        }
    }
    if shared.json {
        output::json(&json!({"items": answers}))?;
    }
    let last = failures.pop();
    for failure in failures {
        eprintln!("error: {failure:#}");
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}
