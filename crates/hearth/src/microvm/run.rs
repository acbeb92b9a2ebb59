//! `hearth run`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_client::Client;
use serde_json::{Value, json};

use super::wait::{Patience, Wish, wait};
use crate::cli::microvm::{ActiveWhile, RunArguments};
use crate::names::{self, ImageName};
use crate::output;
use crate::shared::Shared;
use crate::view::text;

pub(crate) async fn run(
    shared: &Shared,
    client: &Client,
    arguments: RunArguments,
) -> Result<ExitCode> {
    let image = names::image(client, &arguments.image).await?;
    let payload = arguments.payload.as_deref().map(payload).transpose()?;
    let input = input(&arguments, &image, payload, &client.settings().region);
    let mut microvm = client.run_microvm(&input).await?;
    if let Some(activity) = activity(&arguments.active_while) {
        let id = text(&microvm, "microvmId");
        let set = client.set_activity(id, &activity).await;
        set.with_context(|| {
            format!("{id} was started, but only traffic keeps it from being idle")
        })?;
    }
    if arguments.wait {
        let patience = Patience::seconds(arguments.patience.timeout);
        microvm = wait(
            client,
            text(&microvm, "microvmId"),
            Wish::Launched,
            patience,
        )
        .await?;
    }
    print(shared, &microvm)
}

/// Prints the id, or the whole answer as JSON.
pub(super) fn print(shared: &Shared, microvm: &Value) -> Result<ExitCode> {
    if shared.json {
        output::json(microvm)?;
    } else {
        output::say(text(microvm, "microvmId"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The payload: the argument itself, or the content of the file after `@`.
fn payload(typed: &str) -> Result<String> {
    match typed.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}")),
        None => Ok(typed.to_owned()),
    }
}

/// The members of `PutMicrovmActivity`, where there is something to say.
fn activity(typed: &[ActiveWhile]) -> Option<Value> {
    let counts = |what| typed.contains(&what);
    (!typed.is_empty())
        .then(|| json!({"execs": counts(ActiveWhile::Exec), "guestCpu": counts(ActiveWhile::Cpu)}))
}

/// The members of `RunMicrovm`.
fn input(
    arguments: &RunArguments,
    image: &ImageName,
    payload: Option<String>,
    region: &str,
) -> Value {
    let mut input = json!({"imageIdentifier": image.arn});
    let mut set = |member: &str, value: Option<Value>| {
        if let Some(value) = value {
            input[member] = value;
        }
    };
    set(
        "imageVersion",
        image.version.as_ref().map(|version| json!(version)),
    );
    set("runHookPayload", payload.map(Value::String));
    set(
        "executionRoleArn",
        arguments.role.as_ref().map(|role| json!(role)),
    );
    set(
        "maximumDurationInSeconds",
        arguments.max_duration.map(|seconds| json!(seconds)),
    );
    set(
        "idlePolicy",
        arguments.idle.map(|idle| {
            json!({
                "maxIdleDurationSeconds": idle,
                "suspendedDurationSeconds": arguments.keep,
                "autoResumeEnabled": !arguments.no_auto_resume,
            })
        }),
    );
    set(
        "ingressNetworkConnectors",
        ingress(arguments).map(|names| {
            let arn = |name| {
                format!(
                    "arn:aws:lambda:{region}:aws:network-connector:aws-network-connector:{name}"
                )
            };
            json!(names.iter().map(arn).collect::<Vec<_>>())
        }),
    );
    set(
        "egressNetworkConnectors",
        (!arguments.egress.is_empty()).then(|| json!(arguments.egress)),
    );
    input
}

/// The managed connectors for ingress, where the default is not enough. ALL_INGRESS stands alone.
fn ingress(arguments: &RunArguments) -> Option<&'static [&'static str]> {
    match (arguments.shell, arguments.cors) {
        (false, false) => None,
        (true, false) => Some(&["ALL_INGRESS"]),
        (false, true) => Some(&["CORS_INGRESS"]),
        (true, true) => Some(&["CORS_INGRESS", "SHELL_INGRESS"]),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, ClientCommand, Command};

    fn parsed(words: &[&str]) -> RunArguments {
        let Command::Client(ClientCommand::Run(arguments)) =
            Cli::parse_from(["hearth", "run", "hello"].iter().chain(words)).command
        else {
            panic!("it is run");
        };
        arguments
    }

    fn said(words: &[&str]) -> Value {
        let arguments = parsed(words);
        let image = ImageName {
            arn: "arn".to_owned(),
            version: None,
        };
        input(&arguments, &image, None, "eu-1")
    }

    #[test]
    fn what_keeps_it_active_is_said_apart() {
        let said = |words: &[&str]| activity(&parsed(words).active_while);
        assert_eq!(said(&["--idle=60"]), None);
        let execs = json!({"execs": true, "guestCpu": false});
        assert_eq!(said(&["--idle=60", "--active-while=exec"]), Some(execs));
        let both = json!({"execs": true, "guestCpu": true});
        assert_eq!(said(&["--idle=60", "--active-while=exec,cpu"]), Some(both));
    }

    #[test]
    fn only_what_was_typed_is_said() {
        assert_eq!(said(&[]), json!({"imageIdentifier": "arn"}));
        let policy = said(&["--idle=60", "--no-auto-resume"]);
        assert_eq!(
            policy["idlePolicy"],
            json!({"maxIdleDurationSeconds": 60, "suspendedDurationSeconds": 3600, "autoResumeEnabled": false})
        );
        let shell = said(&["--shell", "--max-duration=9"]);
        assert!(
            shell["ingressNetworkConnectors"][0]
                .as_str()
                .unwrap()
                .ends_with("ALL_INGRESS")
        );
        assert_eq!(shell["maximumDurationInSeconds"], 9);
        let both = said(&["--shell", "--cors"]);
        let connectors = both["ingressNetworkConnectors"].as_array().unwrap();
        let ends = ["CORS_INGRESS", "SHELL_INGRESS"];
        assert_eq!(connectors.len(), ends.len());
        for (connector, end) in connectors.iter().zip(ends) {
            assert!(connector.as_str().unwrap().ends_with(end), "{connector}");
        }
    }
}
