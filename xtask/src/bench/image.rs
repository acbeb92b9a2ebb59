//! `cargo xtask bench image`: builds.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::script::{self, Results};

/// Arguments of `bench image`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    results: Results,
    /// Builds of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The example that is built.
    #[arg(long, default_value = "hello")]
    example: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let rounds = arguments.rounds.to_string();
    let further = ["--example", &arguments.example, "--rounds", &rounds];
    script::run("image", &arguments.results, further)
}
