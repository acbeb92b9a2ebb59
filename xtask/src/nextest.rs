//! Runs cargo-nextest, with test binaries started by our runner.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::place::{self, Place, RUNNER_VARIABLE};
use crate::runner::{AGENT_VARIABLE, HEARTH_VARIABLE, PLACE_VARIABLE};
use crate::setup;
use crate::workspace::{self, Binaries};

/// Arguments of `lab-test`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Use hearth and hearth-agent of an earlier build, for example while one of them does not compile.
    #[arg(long)]
    no_build: bool,
    /// Arguments for `cargo nextest run`, for example `-p hearth-vmm --test boot`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The command `lab-test`: nextest with integration tests running where KVM works.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure_lab_tests()?;
    let mut command = workspace::cargo();
    command
        .args(["nextest", "run", "--profile", "lab"])
        .args(&arguments.arguments);
    let binaries = if arguments.no_build {
        Binaries::existing()?
    } else {
        Binaries::build()?
    };
    through_runner(&mut command, &binaries, place::find(&binaries)?)?;
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether cargo-nextest is installed. The tests also run without it, with less readable output.
pub(crate) fn is_installed() -> bool {
    Command::new("cargo-nextest")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A nextest filter for the `tests/*.rs` of these packages.
pub(crate) fn integration_tests_of(packages: &[&str]) -> String {
    let packages: Vec<String> = packages
        .iter()
        .map(|package| format!("package({package})"))
        .collect();
    format!("kind(test) & ({})", packages.join(" | "))
}

/// Makes `command` (cargo test or nextest) send its test binaries through our runner, and tells the runner what
/// it would otherwise find out again for every test.
pub(crate) fn through_runner(
    command: &mut Command,
    binaries: &Binaries,
    place: Place,
) -> Result<()> {
    let mut runner = OsString::from(std::env::current_exe().context("cannot find xtask itself")?);
    runner.push(" runner");
    command
        .env(RUNNER_VARIABLE, runner)
        .env(HEARTH_VARIABLE, &binaries.hearth)
        .env(AGENT_VARIABLE, &binaries.agent)
        .env(PLACE_VARIABLE, place.name());
    Ok(())
}
