//! `cargo xtask bench neighbour`: measures how much one microVM, or one account, slows another.
//!
//! With guests: `tests/bench/neighbour.py` against a `hearth up` of its own. With `--native`, without virtual machines:
//! `account-bench` of `tests/bench`, which attacks parts of the service that all accounts share.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use super::script::{self, Results};
use crate::workspace::{self, Profile};

/// Arguments of `bench neighbour`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    results: Results,
    /// Turns of each load.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Measure accounts over a node without virtual machines.
    #[arg(long)]
    native: bool,
    /// Measure the development profile, which is built sooner.
    #[arg(long, requires = "native")]
    development: bool,
    /// Further arguments of the benchmark, for example `--attacker-mib 512`, or `--seconds 5` of the native one.
    #[arg(last = true)]
    further: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let rounds = ["--rounds".to_owned(), arguments.rounds.to_string()];
    let further = rounds.iter().chain(&arguments.further);
    if !arguments.native {
        return script::run("neighbour", &arguments.results, None, further);
    }
    let profile = match arguments.development {
        true => Profile::Development,
        false => Profile::Release,
    };
    let built = workspace::build_targets(profile, &["account-bench"], &["dev_front"])?;
    let mut command = Command::new(workspace::named(&built, "account-bench")?);
    command
        .arg("--front")
        .arg(workspace::named(&built, "dev_front")?);
    command
        .arg("--csv")
        .arg(arguments.results.csv_of("neighbour"));
    if let Some(json) = arguments.results.json() {
        command.arg("--json").arg(json);
    }
    let status = command
        .args(further)
        .status()
        .context("cannot run the benchmark")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
