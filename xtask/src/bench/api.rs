//! `cargo xtask bench api`: the front and the control plane.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::{self, Profile};

/// Arguments of `bench api`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-api.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Further arguments of the benchmark, for example `--records 10,1000`.
    #[arg(last = true)]
    further: Vec<String>,
}

/// The command `bench api`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let built = workspace::build_targets(Profile::Release, &["api-bench"], &["dev_front"])?;
    let mut command = Command::new(workspace::named(&built, "api-bench")?);
    command
        .arg("--front")
        .arg(workspace::named(&built, "dev_front")?);
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
