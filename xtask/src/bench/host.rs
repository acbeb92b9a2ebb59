//! `cargo xtask bench host`: operations on one microVM beside many suspended ones, without KVM.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::{self, Profile};

/// Arguments of `bench host`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many microVMs are suspended.
    #[arg(long, default_value = "10,100,1000,10000")]
    sleepers: String,
    /// Measure the development profile, which is built sooner.
    #[arg(long)]
    development: bool,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-host.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Further arguments of the benchmark, for example `--rounds 10` or `--directory /data`.
    #[arg(last = true)]
    further: Vec<String>,
}

/// The command `bench host`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let profile = match arguments.development {
        true => Profile::Development,
        false => Profile::Release,
    };
    let built = workspace::build(profile, &["host-bench", "fake-vmm"])?;
    let mut command = Command::new(workspace::named(&built, "host-bench")?);
    command
        .arg("--vmm")
        .arg(workspace::named(&built, "fake-vmm")?);
    command.args(["--sleepers", &arguments.sleepers]);
    command.arg("--csv").arg(&arguments.csv);
    if let Some(path) = &arguments.json {
        command.arg("--json").arg(path);
    }
    let status = command
        .args(&arguments.further)
        .status()
        .context("cannot run the benchmark")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
