//! `cargo xtask bench image`: a `hearth up` of its own, and `tests/bench/image.py` against it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::{self, Place};
use crate::up::{self, Up};
use crate::workspace::{self, Binaries, Profile};
use crate::{lab, python};

/// Arguments of `bench image`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-image.csv")]
    csv: PathBuf,
    /// Where the medians go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Builds of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The example that is built.
    #[arg(long, default_value = "hello")]
    example: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
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
    let measured = measure(arguments, &environment, &data);
    service.stop()?;
    measured
}

fn measure(arguments: &Arguments, environment: &Path, data: &Path) -> Result<ExitCode> {
    let mut command = Command::new(environment.join("bin/python"));
    command
        .arg(workspace::root().join("tests/bench/image.py"))
        .arg(data.join("client.json"))
        .args(["--example", &arguments.example])
        .args(["--rounds", &arguments.rounds.to_string()])
        .arg("--csv")
        .arg(&arguments.csv);
    if let Some(json) = &arguments.json {
        command.arg("--json").arg(json);
    }
    if !command.status().context("cannot run python")?.success() {
        bail!("the builds were not measured");
    }
    Ok(ExitCode::SUCCESS)
}
