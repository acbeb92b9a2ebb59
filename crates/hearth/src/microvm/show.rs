//! `hearth ps` and `hearth show`.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::microvm::{ListArguments, ShowArguments};
use crate::shared::Shared;
use crate::view::{age, text, time, word};
use crate::{names, output};

pub(crate) async fn list(
    shared: &Shared,
    client: &Client,
    arguments: ListArguments,
) -> Result<ExitCode> {
    let image = match &arguments.image {
        Some(typed) => Some(names::image(client, typed).await?),
        None => None,
    };
    let image = image.as_ref();
    let mut microvms = client
        .microvms(image.map(|image| image.arn.as_str()))
        .await?;
    microvms.retain(|microvm| {
        let of_version = image
            .and_then(|image| image.version.as_deref())
            .is_none_or(|version| text(microvm, "imageVersion") == version);
        of_version && (arguments.all || text(microvm, "state") != "TERMINATED")
    });
    if shared.json {
        output::json(&json!({"items": microvms}))?;
    } else if arguments.quiet {
        for microvm in &microvms {
            output::say(text(microvm, "microvmId"))?;
        }
    } else {
        print(&microvms)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(microvms: &[Value]) -> Result<()> {
    let now = Timestamp::now();
    let rows: Vec<_> = microvms
        .iter()
        .map(|microvm| {
            let image = names::image_name(text(microvm, "imageArn"));
            [
                names::short(text(microvm, "microvmId")).to_owned(),
                format!("{image}:{}", text(microvm, "imageVersion")),
                word(microvm, "state"),
                age(time(microvm, "startedAt"), now),
            ]
        })
        .collect();
    output::table(["MICROVM", "IMAGE", "STATE", "AGE"], &rows)
}

pub(crate) async fn show(
    shared: &Shared,
    client: &Client,
    arguments: ShowArguments,
) -> Result<ExitCode> {
    let id = names::microvm(client, &arguments.one.microvm).await?;
    if arguments.times {
        return times(shared, &client.start_times(&id).await?);
    }
    let microvm = client.microvm(&id).await?;
    if shared.json {
        output::json(&microvm)?;
        return Ok(ExitCode::SUCCESS);
    }
    let when = |member: &str| {
        let time = time(&microvm, member);
        time.map_or("-".to_owned(), |time| {
            format!("{time:.0} ({} ago)", age(Some(time), Timestamp::now()))
        })
    };
    output::members(&[
        ("id", id),
        ("state", word(&microvm, "state")),
        ("reason", word(&microvm, "stateReason")),
        ("image", word(&microvm, "imageArn")),
        ("version", word(&microvm, "imageVersion")),
        (
            "endpoint",
            format!("https://{}", word(&microvm, "endpoint")),
        ),
        ("started", when("startedAt")),
        ("terminated", when("terminatedAt")),
        (
            "at most",
            format!("{} s", word(&microvm, "maximumDurationInSeconds")),
        ),
        ("idle policy", idle_policy(&microvm["idlePolicy"])),
        ("role", word(&microvm, "executionRoleArn")),
        ("ways in", connectors(&microvm["ingressNetworkConnectors"])),
        ("ways out", connectors(&microvm["egressNetworkConnectors"])),
    ])?;
    Ok(ExitCode::SUCCESS)
}

/// The steps of its last start.
fn times(shared: &Shared, times: &Value) -> Result<ExitCode> {
    if shared.json {
        output::json(times)?;
        return Ok(ExitCode::SUCCESS);
    }
    let steps = times["steps"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if steps.is_empty() {
        output::say(
            "It has not started since the service has; the times of its next resume are kept.",
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let milliseconds = |value: &Value| {
        let microseconds = value.as_f64().unwrap_or_default();
        format!("{:.3}", microseconds / 1000.0)
    };
    let step = |step: &Value| [word(step, "name"), milliseconds(&step["microseconds"])];
    let mut rows: Vec<_> = steps.iter().map(step).collect();
    let kind = word(times, "kind").to_lowercase();
    rows.push([
        format!("all of the {kind}"),
        milliseconds(&times["totalMicroseconds"]),
    ]);
    output::table(["STEP", "MILLISECONDS"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn idle_policy(policy: &Value) -> String {
    if policy.is_null() {
        return "-".to_owned();
    }
    let resumes = match policy["autoResumeEnabled"].as_bool() {
        Some(true) => "resumed by traffic",
        _ => "not resumed by traffic",
    };
    format!(
        "suspended after {} s, {resumes}, terminated after {} s more",
        word(policy, "maxIdleDurationSeconds"),
        word(policy, "suspendedDurationSeconds")
    )
}

/// The last parts of their ARNs.
fn connectors(arns: &Value) -> String {
    let arns = arns.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = arns
        .iter()
        .filter_map(|arn| arn.as_str()?.rsplit(':').next())
        .collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    }
}
