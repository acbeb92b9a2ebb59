//! `cargo xtask bench image`: measures the time of image builds.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::script::{self, Results};
use crate::workspace;

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
    /// Measure builds whose guests boot as well, without templates of booted guests, in the same run.
    #[arg(long)]
    beside_boots: bool,
}

/// A configuration in which every guest boots.
const BOOTS: &str = "[images]\nboot_templates = false\n";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let rounds = arguments.rounds.to_string();
    let further = ["--example", &arguments.example, "--rounds", &rounds];
    if !arguments.beside_boots {
        return script::run("image", &arguments.results, None, further);
    }
    let config = workspace::target_dir().join("bench-boots.toml");
    fs::write(&config, BOOTS).context("cannot write a configuration")?;
    let others = Results::beside(&workspace::target_dir());
    let subject = format!("{}-booted", arguments.example);
    let named = further.into_iter().chain(["--subject", &subject]);
    script::run("image", &others, Some(&config), named)?;
    let include = others.csv_of("image");
    let include = include.to_str().context("a path is no text")?;
    let further = further.into_iter().chain(["--include", include]);
    script::run("image", &arguments.results, None, further)
}
