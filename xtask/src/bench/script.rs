//! Benchmarks in Python (`tests/bench`), each against a `hearth up` of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::{self, Place};
use crate::up::{self, Up};
use crate::workspace::{self, Binaries, Profile};
use crate::{lab, python};

/// Where results go.
#[derive(Debug, Args)]
pub(super) struct Results {
    /// Where the raw measurements go [default: bench-NAME.csv].
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs `tests/bench/NAME.py`.
pub(super) fn run(
    name: &str,
    results: &Results,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<ExitCode> {
    let executables = workspace::build(Profile::Release, &workspace::PROGRAMS)?;
    let binaries = Binaries::among(&executables)?;
    let environment = python::environment()?;
    if place::find(&binaries)? == Place::Lab {
        lab::power_off();
    }
    let data = workspace::target_dir().join("bench");
    up::clear(&data)?;
    let mut service = Up::start(&binaries, &data, Stdio::inherit(), &[])?;
    service.wait_until_serving()?;
    let mut command = Command::new(environment.join("bin/python"));
    command
        .arg(workspace::root().join(format!("tests/bench/{name}.py")))
        .arg(data.join("client.json"))
        .args(arguments.into_iter().map(Into::into));
    let measured = measure(command, name, results);
    service.stop()?;
    measured
}

fn measure(mut command: Command, name: &str, results: &Results) -> Result<ExitCode> {
    let usual = format!("bench-{name}.csv");
    let csv = results.csv.as_deref().unwrap_or(Path::new(&usual));
    command.arg("--csv").arg(csv);
    if let Some(json) = &results.json {
        command.arg("--json").arg(json);
    }
    if !command.status().context("cannot run python")?.success() {
        bail!("tests/bench/{name}.py measured nothing");
    }
    Ok(ExitCode::SUCCESS)
}
