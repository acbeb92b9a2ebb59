//! `hearth image du`: disk usage of the host by owner.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use serde_json::Value;

use crate::output;
use crate::shared::Shared;
use crate::view::{size, text};

pub(super) async fn run(shared: &Shared, client: &Client) -> Result<ExitCode> {
    let usage = client.disk_usage().await?;
    if shared.json {
        output::json(&usage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let holdings = usage["holdings"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = holdings
        .iter()
        .map(|holding| {
            [
                kind(holding).to_owned(),
                name(holding),
                bytes(&holding["sizeInBytes"]),
                remark(holding, holdings),
            ]
        })
        .collect();
    output::table(["WHAT", "NAME", "SIZE", ""], &rows)?;
    output::say(&format!("{} in all", bytes(&usage["totalSizeInBytes"])))?;
    Ok(ExitCode::SUCCESS)
}

fn bytes(value: &Value) -> String {
    size(value.as_u64().unwrap_or_default())
}

fn kind(holding: &Value) -> &str {
    match text(holding, "kind") {
        "VERSION" => "version",
        "BUILD" => "build",
        "MICROVM" => "microVM",
        "LAYER_CACHE" => "cached layers",
        "BOOT_TEMPLATE" => "booted guest",
        "BASE_IMAGES" => "base images",
        "GUEST_BASE" => "guest base",
        other => other,
    }
}

/// A version as commands take it: `hello:1.0`.
pub(crate) fn name(holding: &Value) -> String {
    let name = text(holding, "name");
    match text(holding, "imageVersion") {
        "" => name.to_owned(),
        version => {
            let short = name.rsplit(':').next().unwrap_or(name);
            format!("{short}:{version}")
        }
    }
}

/// The last column: the state of a microVM, or the users of shared files.
fn remark(holding: &Value, all: &[Value]) -> String {
    let is_current = holding["current"].as_bool();
    let shared_as = match text(holding, "kind") {
        "MICROVM" if is_current == Some(true) => return "running".to_owned(),
        "MICROVM" => return "suspended".to_owned(),
        "LAYER_CACHE" => return "an account".to_owned(),
        "BASE_IMAGES" => "baseImages",
        "GUEST_BASE" => "guestBase",
        _ => return String::new(),
    };
    let stands = |version: &&Value| text(version, shared_as) == text(holding, "name");
    let users: Vec<String> = all.iter().filter(stands).map(name).collect();
    let current = match is_current {
        Some(true) => "current",
        _ => "older",
    };
    match users.as_slice() {
        [] => current.to_owned(),
        users => format!("{current}; of {}", users.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shared_names_who_stands_on_it() {
        let version = json!({
            "kind": "VERSION", "name": "arn:aws:lambda:us-east-1:0:microvm-image:hello",
            "imageVersion": "1.0", "baseImages": "abc", "guestBase": "6.12-x",
        });
        let set = json!({"kind": "BASE_IMAGES", "name": "abc", "current": true});
        let old = json!({"kind": "GUEST_BASE", "name": "6.1-y", "current": false});
        let all = [version.clone(), set.clone(), old.clone()];
        assert_eq!(name(&version), "hello:1.0");
        assert_eq!(remark(&version, &all), "");
        assert_eq!(remark(&set, &all), "current; of hello:1.0");
        assert_eq!(remark(&old, &all), "older");
        let asleep = json!({"kind": "MICROVM", "name": "microvm-1", "current": false});
        assert_eq!(remark(&asleep, &all), "suspended");
    }
}
