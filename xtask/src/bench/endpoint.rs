//! `cargo xtask bench endpoint`: requests to an application directly, through the endpoint and through nginx; and
//! requests that wake a suspended microVM.
//!
//! The first part is measured on loopback, by `endpoint-bench` of `tests/bench`. The second part needs guests: it
//! starts a `hearth up` of its own and runs `tests/bench/waking.py` against it. The results of both are in one file.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::{self, Place};
use crate::setup;
use crate::up::{self, Up};
use crate::workspace::{self, Binaries, Profile};
use crate::{lab, python};

/// Arguments of `bench endpoint`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-endpoint.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// How often a suspended microVM is woken; 0 leaves guests out.
    #[arg(long, default_value_t = 20)]
    wakes: u32,
    /// Leave nginx out.
    #[arg(long)]
    no_nginx: bool,
    /// Further arguments of the benchmark, for example `--rounds 3` or `--requests 500`.
    #[arg(last = true)]
    further: Vec<String>,
}

/// The command `bench endpoint`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.no_nginx {
        setup::ensure_nginx()?;
    }
    let built = workspace::build_targets(Profile::Release, &["endpoint-bench"], &["dev_endpoint"])?;
    let woken = match arguments.wakes {
        0 => None,
        wakes => Some(measure_wakes(wakes)?),
    };
    let mut command = Command::new(workspace::named(&built, "endpoint-bench")?);
    command
        .arg("--endpoint")
        .arg(workspace::named(&built, "dev_endpoint")?);
    command.arg("--csv").arg(&arguments.csv);
    for (name, path) in [("--json", &arguments.json), ("--include", &woken)] {
        if let Some(path) = path {
            command.arg(name).arg(path);
        }
    }
    if !arguments.no_nginx {
        command.arg("--nginx").arg(setup::NGINX);
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

/// Measures waking, before the other part: nothing else may use this machine meanwhile. Answers the path of the
/// results.
fn measure_wakes(wakes: u32) -> Result<PathBuf> {
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
    let csv = workspace::target_dir().join("waking.csv");
    let measured = wake(&environment, &data, wakes, &csv);
    service.stop()?;
    measured?;
    Ok(csv)
}

fn wake(environment: &Path, data: &Path, wakes: u32, csv: &Path) -> Result<()> {
    let mut command = Command::new(environment.join("bin/python"));
    command
        .arg(workspace::root().join("tests/bench/waking.py"))
        .arg(data.join("client.json"))
        .args(["--wakes", &wakes.to_string()])
        .arg("--csv")
        .arg(csv);
    if !command.status().context("cannot run python")?.success() {
        bail!("waking was not measured");
    }
    Ok(())
}
