//! `hearth suspend`, `resume`, `fork`, `rm`: asking for a state and waiting for it.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use serde_json::json;

use super::run::print;
use super::wait::{Patience, WaitError, Wish, wait};
use crate::cli::microvm::{ForkArguments, RemoveArguments, SomeMicrovms};
use crate::shared::Shared;
use crate::view::text;
use crate::{names, output};

pub(crate) async fn suspend(
    shared: &Shared,
    client: &Client,
    arguments: SomeMicrovms,
) -> Result<ExitCode> {
    let ids = ids(client, &arguments.microvms).await?;
    let timeout = (!arguments.no_wait).then_some(arguments.wait.timeout);
    bring(shared, client, &ids, Wish::Suspended, timeout).await
}

pub(crate) async fn resume(
    shared: &Shared,
    client: &Client,
    arguments: SomeMicrovms,
) -> Result<ExitCode> {
    let ids = ids(client, &arguments.microvms).await?;
    let timeout = (!arguments.no_wait).then_some(arguments.wait.timeout);
    bring(shared, client, &ids, Wish::Resumed, timeout).await
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
    let timeout = (!arguments.no_wait).then_some(arguments.wait.timeout);
    bring(shared, client, &ids, Wish::Terminated, timeout).await
}

/// Terminates every microVM of the account and waits until they are gone. Answers how many there were.
pub(crate) async fn terminate_all(client: &Client) -> Result<usize> {
    let ids = living(client).await?;
    for id in &ids {
        Wish::Terminated.ask(client, id).await?;
    }
    let patience = Patience::seconds(Patience::DEFAULT_SECONDS);
    for id in &ids {
        wait(client, id, Wish::Terminated, patience).await?;
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
        let patience = Patience::seconds(arguments.patience.timeout);
        child = wait(client, text(&child, "microvmId"), Wish::Launched, patience).await?;
    }
    print(shared, &child)
}

/// Looks up all ids before the first request, so that a wrong one changes nothing.
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

/// Asks for the state of all microVMs, then waits for all if there is a limit. They change concurrently, and one
/// failure does not stop the others.
async fn bring(
    shared: &Shared,
    client: &Client,
    ids: &[String],
    wish: Wish,
    timeout: Option<u64>,
) -> Result<ExitCode> {
    let mut asked = Vec::new();
    for id in ids {
        asked.push(wish.ask(client, id).await);
    }
    let patience = timeout.map(Patience::seconds);
    let mut answers = Vec::new();
    let mut failures = Vec::new();
    for (id, asked) in ids.iter().zip(asked) {
        let answer = match (asked, patience) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(patience)) => wait(client, id, wish, patience).await,
            (Ok(()), None) => client.microvm(id).await.map_err(Into::into),
        };
        match answer {
            Ok(microvm) => {
                if !shared.json {
                    output::say(id)?;
                }
                answers.push(microvm);
            }
            Err(error) => {
                let cause = error.downcast_ref();
                let is_interrupted = matches!(cause, Some(WaitError::Interrupted { .. }));
                failures.push(error);
                if is_interrupted {
                    break;
                }
            }
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
