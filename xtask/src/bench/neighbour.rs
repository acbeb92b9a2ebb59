//! `cargo xtask bench neighbour`: what one microVM notices of another.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::script::{self, Results};

/// Arguments of `bench neighbour`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    results: Results,
    /// Turns of each load.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Further arguments of the benchmark, for example `--attacker-mib 512`.
    #[arg(last = true)]
    further: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let rounds = ["--rounds".to_owned(), arguments.rounds.to_string()];
    let further = rounds.iter().chain(&arguments.further);
    script::run("neighbour", &arguments.results, None, further)
}
