//! `hearth status`: whether the service is up, and its images and microVMs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use hearth_client::Client;
use hearth_emulated::EmulatedHost;
use serde::Serialize;
use serde_json::Value;

use crate::damaged::{self, Damaged};
use crate::failure::Absent;
use crate::shared::Shared;
use crate::up::UpRecord;
use crate::view::text;
use crate::{client, host, output};

/// What was found, for programs.
#[derive(Serialize)]
struct Status {
    endpoint_url: String,
    region: String,
    answer_ms: f64,
    /// The account whose images and microVMs are counted.
    account: String,
    data: String,
    pid: Option<u32>,
    is_emulated: bool,
    microvms: BTreeMap<String, usize>,
    images: BTreeMap<String, usize>,
    /// Files that were set aside as damaged; empty if this user may not read the data directory.
    damaged: Vec<Damaged>,
}

pub(crate) fn run(shared: &Shared) -> Result<ExitCode> {
    client::run(shared, async |client| {
        let status = match ask(shared, &client).await {
            Ok(status) => status,
            Err(error) => {
                // Tell a process that does not answer from no process.
                let is_running = UpRecord::running(&shared.data)?.is_some();
                return Err(if is_running {
                    error.context("hearth runs, but does not answer (yet)")
                } else {
                    error.context(Absent::NotRunning(shared.data.clone()))
                });
            }
        };
        if shared.json {
            output::json(&status)?;
        } else {
            print(&status)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn ask(shared: &Shared, client: &Client) -> Result<Status> {
    let began = Instant::now();
    let images = client.images(None).await?;
    let answer_ms = began.elapsed().as_secs_f64() * 1000.0;
    let microvms = client.microvms(None).await?;
    Ok(Status {
        endpoint_url: client.settings().endpoint_url.clone(),
        region: client.settings().region.clone(),
        answer_ms,
        account: client.account().await?,
        data: std::path::absolute(&shared.data)?.display().to_string(),
        pid: UpRecord::running(&shared.data)?.map(|process| process.pid),
        is_emulated: EmulatedHost::attach(&host::state_dir(shared)).is_some(),
        microvms: by_state(&microvms),
        images: by_state(&images),
        damaged: damaged::read(shared).unwrap_or_default(),
    })
}

fn by_state(items: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(text(item, "state").to_owned()).or_default() += 1;
    }
    counts
}

fn print(status: &Status) -> Result<()> {
    let process = match status.pid {
        Some(pid) => pid.to_string(),
        None => "not of this data directory".to_owned(),
    };
    let place = if status.is_emulated {
        "in the emulated host"
    } else {
        "on this machine's KVM"
    };
    output::say("hearth is up")?;
    output::members(&[
        (
            "  API",
            format!(
                "{} ({}), answers in {:.1} ms",
                status.endpoint_url, status.region, status.answer_ms
            ),
        ),
        ("  process", process),
        ("  data", status.data.clone()),
        (
            "  account",
            format!("{}; what follows is this account's alone", status.account),
        ),
        (
            "  microVMs",
            format!("{}, {place}", counts(&status.microvms)),
        ),
        ("  images", counts(&status.images)),
    ])?;
    for damaged in &status.damaged {
        output::say(&warning(damaged))?;
    }
    Ok(())
}

fn warning(damaged: &Damaged) -> String {
    format!(
        "  damaged   {}\n            {}",
        damaged.sentence(),
        damaged.what_helps
    )
}

/// `2 RUNNING, 1 SUSPENDED`.
fn counts(by_state: &BTreeMap<String, usize>) -> String {
    if by_state.is_empty() {
        return "none".to_owned();
    }
    let parts: Vec<_> = by_state
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_counted() {
        let items = ["RUNNING", "SUSPENDED", "RUNNING"].map(|state| json!({"state": state}));
        assert_eq!(counts(&by_state(&items)), "2 RUNNING, 1 SUSPENDED");
        assert_eq!(counts(&by_state(&[])), "none");
    }

    #[test]
    fn what_is_damaged_is_told_with_what_helps() {
        let path = "/data/damaged/snapshot-12".into();
        let reason = br#"{"instance":"build-1","reason":"node.json is corrupt","found_at":1}"#;
        let damage = hearth_node::Damage::told(path, Some(reason));
        let lines = warning(&Damaged::new(damage, "/data".as_ref()));
        for part in [
            "/data/damaged/snapshot-12 (build-1): node.json is corrupt",
            "mv /data/damaged/snapshot-12 /data/snapshots/12",
            "rm -r /data/damaged/snapshot-12",
        ] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }
}
