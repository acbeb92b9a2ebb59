//! Runs commands and the script of attacks in a guest.

use anyhow::{Result, bail};
use hearth_client::{Client, ExecEvent, ExecRequest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fixture::Microvm;

const SCRIPT: &str = include_str!("attacks.py");

/// Longest time for all attacks from one guest, in seconds, also in the emulated host.
const GUEST_LIMIT_S: u32 = 1800;

/// A line of the script's output.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) attack: Option<bool>,
    pub(super) control: Option<bool>,
    pub(super) value: Option<Value>,
    pub(super) error: Option<String>,
}

/// Runs a command in a microVM.
pub(super) async fn execute(tenant: &Client, microvm: &Microvm, command: &[&str]) -> Result<()> {
    let request = ExecRequest {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        timeout_s: 300,
        ..ExecRequest::default()
    };
    let mut process = tenant.exec(&microvm.id, &request).await?;
    loop {
        match process.next().await? {
            ExecEvent::Exited(0) => return Ok(()),
            ExecEvent::Exited(status) => bail!("{} ended with {status}", command.join(" ")),
            _ => {}
        }
    }
}

/// Runs the script in a microVM.
pub(super) async fn script(
    tenant: &Client,
    microvm: &Microvm,
    values: &Value,
    attacks: &Value,
) -> Result<Vec<Line>> {
    let request = ExecRequest {
        command: ["python3", "-c", SCRIPT].map(str::to_owned).to_vec(),
        timeout_s: GUEST_LIMIT_S,
        ..ExecRequest::default()
    };
    let (mut process, input) = tenant.converse(&microvm.id, &request).await?;
    let told = json!({"values": values, "attacks": attacks}).to_string();
    input.stdin(told.as_bytes()).await;
    input.end().await;
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    loop {
        match process.next().await {
            Ok(ExecEvent::Stdout(bytes)) => said.extend(bytes),
            Ok(ExecEvent::Stderr(bytes)) => complaint.extend(bytes),
            Ok(ExecEvent::Exited(0)) => break,
            // What it did before counts.
            Ok(ExecEvent::Exited(_)) | Err(_) if !said.is_empty() => break,
            Ok(ExecEvent::Exited(status)) => {
                bail!(
                    "the script ended with {status}: {}",
                    String::from_utf8_lossy(&complaint)
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    let lines = said.split(|byte| *byte == b'\n');
    // A line that was cut off by the end of its guest is none.
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}
