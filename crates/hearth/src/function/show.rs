//! `hearth function ls` and `show`.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::output;
use crate::shared::Shared;
use crate::view::{age, size, text, word};

pub(super) async fn list(shared: &Shared, client: &Client) -> Result<ExitCode> {
    let mut functions = Vec::new();
    for listed in client.functions().await? {
        // A list does not have their states.
        let name = text(&listed, "FunctionName");
        match client.function_configuration(name).await {
            // Somebody has deleted it meanwhile.
            Err(error) if error.is_not_found() => {}
            answered => functions.push(answered?),
        }
    }
    if shared.json {
        output::json(&json!({"Functions": functions}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let rows: Vec<_> = functions
        .iter()
        .map(|function| row(function, now))
        .collect();
    output::table(
        [
            "NAME", "RUNTIME", "STATE", "MEMORY", "TIMEOUT", "CODE", "MODIFIED",
        ],
        &rows,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn row(function: &Value, now: Timestamp) -> [String; 7] {
    [
        word(function, "FunctionName"),
        word(function, "Runtime"),
        state(function),
        with_unit(function, "MemorySize", "MB"),
        with_unit(function, "Timeout", "s"),
        code(function),
        age(modified(function), now),
    ]
}

/// Its state, or that of an update that is not done.
fn state(function: &Value) -> String {
    match (text(function, "State"), text(function, "LastUpdateStatus")) {
        ("Active", "InProgress") => "Updating".to_owned(),
        ("Active", "Failed") => "UpdateFailed".to_owned(),
        _ => word(function, "State"),
    }
}

fn with_unit(function: &Value, member: &str, unit: &str) -> String {
    let number = function.get(member).and_then(Value::as_u64);
    number.map_or("-".to_owned(), |number| format!("{number} {unit}"))
}

fn code(function: &Value) -> String {
    let bytes = function.get("CodeSize").and_then(Value::as_u64);
    bytes.map_or("-".to_owned(), size)
}

fn modified(function: &Value) -> Option<Timestamp> {
    text(function, "LastModified").parse().ok()
}

/// Shows a function, or a version of it, with its versions and aliases.
pub(super) async fn show(shared: &Shared, client: &Client, typed: &str) -> Result<ExitCode> {
    let function = client.function(typed).await?;
    let name = text(&function["Configuration"], "FunctionName");
    let versions = client.function_versions(name).await?;
    let aliases = client.function_aliases(name).await?;
    if shared.json {
        let mut told = function.clone();
        told["Versions"] = json!(versions);
        told["Aliases"] = json!(aliases);
        output::json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&function)?;
    print_versions(&versions)?;
    print_aliases(&aliases)?;
    Ok(ExitCode::SUCCESS)
}

fn print(function: &Value) -> Result<()> {
    let settings = &function["Configuration"];
    let mut members = vec![
        ("name", word(settings, "FunctionName")),
        ("arn", word(settings, "FunctionArn")),
        ("version", word(settings, "Version")),
        ("state", state(settings)),
    ];
    for reason in ["StateReason", "LastUpdateStatusReason"] {
        if !text(settings, reason).is_empty() {
            members.push(("reason", word(settings, reason)));
        }
    }
    members.extend([
        ("description", word(settings, "Description")),
        ("runtime", word(settings, "Runtime")),
        ("handler", word(settings, "Handler")),
        ("memory", with_unit(settings, "MemorySize", "MB")),
        ("timeout", with_unit(settings, "Timeout", "s")),
        (
            "/tmp",
            with_unit(&settings["EphemeralStorage"], "Size", "MB"),
        ),
        ("role", word(settings, "Role")),
        ("code", code(settings)),
        ("sha256", word(settings, "CodeSha256")),
        ("modified", word(settings, "LastModified")),
        ("log group", word(&settings["LoggingConfig"], "LogGroup")),
        ("log format", word(&settings["LoggingConfig"], "LogFormat")),
        ("tracing", word(&settings["TracingConfig"], "Mode")),
    ]);
    if let Some(tenancy) = settings.get("TenancyConfig") {
        members.push(("tenancy", word(tenancy, "TenantIsolationMode")));
    }
    if let Some(reserved) = function.get("Concurrency") {
        members.push(("reserved", word(reserved, "ReservedConcurrentExecutions")));
    }
    for (title, value) in pairs(&settings["Environment"]["Variables"]) {
        members.push(("variable", format!("{title}={value}")));
    }
    for layer in items(&settings["Layers"]) {
        members.push(("layer", format!("{} ({})", text(layer, "Arn"), code(layer))));
    }
    for (key, value) in pairs(&function["Tags"]) {
        members.push(("tag", format!("{key}={value}")));
    }
    output::members(&members)
}

/// The members of an object of texts.
fn pairs(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let members = object.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn print_versions(versions: &[Value]) -> Result<()> {
    let now = Timestamp::now();
    let rows: Vec<_> = versions
        .iter()
        .map(|version| {
            [
                word(version, "Version"),
                word(version, "Runtime"),
                code(version),
                age(modified(version), now),
                word(version, "Description"),
            ]
        })
        .collect();
    output::say("")?;
    output::table(
        ["VERSION", "RUNTIME", "CODE", "MODIFIED", "DESCRIPTION"],
        &rows,
    )
}

fn print_aliases(aliases: &[Value]) -> Result<()> {
    if aliases.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = aliases
        .iter()
        .map(|alias| {
            [
                word(alias, "Name"),
                word(alias, "FunctionVersion"),
                weights(alias),
                word(alias, "Description"),
            ]
        })
        .collect();
    output::say("")?;
    output::table(["ALIAS", "VERSION", "ALSO", "DESCRIPTION"], &rows)
}

/// The other version of an alias, with its share.
fn weights(alias: &Value) -> String {
    let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
    let shares = weights.into_iter().flatten().map(|(version, share)| {
        let percent = share.as_f64().unwrap_or_default() * 100.0;
        format!("{version} ({percent:.0} %)")
    });
    let shares: Vec<_> = shares.collect();
    match shares.is_empty() {
        true => "-".to_owned(),
        false => shares.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_the_service_says() {
        let function = json!({
            "FunctionName": "greet", "Runtime": "python3.13", "State": "Active",
            "LastUpdateStatus": "Successful", "MemorySize": 128, "Timeout": 3, "CodeSize": 1536,
            "LastModified": "2026-11-30T22:00:00.000+0000",
        });
        let now = "2026-11-30T22:05:00Z".parse().unwrap();
        assert_eq!(
            row(&function, now),
            [
                "greet",
                "python3.13",
                "Active",
                "128 MB",
                "3 s",
                "1.5 KiB",
                "5m"
            ]
        );
    }

    #[test]
    fn an_update_under_way_is_told() {
        let of = |state: &str, update: &str| {
            super::state(&json!({"State": state, "LastUpdateStatus": update}))
        };
        assert_eq!(of("Active", "InProgress"), "Updating");
        assert_eq!(of("Active", "Failed"), "UpdateFailed");
        assert_eq!(of("Pending", "InProgress"), "Pending");
        assert_eq!(super::state(&json!({})), "-");
    }

    #[test]
    fn shares_of_aliases_are_percents() {
        let alias = json!({"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}});
        assert_eq!(weights(&alias), "2 (25 %)");
        assert_eq!(weights(&json!({})), "-");
    }
}
