//! Runs benchmarks in Python (`tests/bench`), each against a `hearth up` of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::{self, Place};
use crate::up::{self, Up};
use crate::workspace::{self, Binaries, Profile};
use crate::{lab, python};

/// Files of the results.
#[derive(Debug, Args)]
pub(super) struct Results {
    /// Where the raw measurements go [default: bench-NAME.csv].
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Results {
    /// Files for measurements that another run includes in its own.
    pub(super) fn beside(directory: &Path) -> Self {
        Self {
            csv: Some(directory.join("bench-beside.csv")),
            json: None,
        }
    }

    /// Where the summary goes, if anywhere.
    pub(super) fn json(&self) -> Option<&Path> {
        self.json.as_deref()
    }

    /// Where the raw measurements of the benchmark NAME go.
    pub(super) fn csv_of(&self, name: &str) -> PathBuf {
        let usual = || format!("bench-{name}.csv").into();
        self.csv.clone().unwrap_or_else(usual)
    }
}

/// Runs `tests/bench/NAME.py`, against a service with this configuration.
pub(super) fn run(
    name: &str,
    results: &Results,
    config: Option<&Path>,
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
    let config = config.map(|config| config.display().to_string());
    let options: Vec<&str> = config
        .iter()
        .flat_map(|config| ["--config", config])
        .collect();
    let mut service = Up::start(&binaries, &data, Stdio::inherit(), &options)?;
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
    command.arg("--csv").arg(results.csv_of(name));
    if let Some(json) = &results.json {
        command.arg("--json").arg(json);
    }
    if !command.status().context("cannot run python")?.success() {
        bail!("tests/bench/{name}.py measured nothing");
    }
    Ok(ExitCode::SUCCESS)
}
