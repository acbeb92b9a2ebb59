//! The `hearth` command line.
//!
//! Parsing ([`cli`]) and doing are apart: every command is a module whose function takes what was typed and
//! answers an exit code. MicroVMs run in processes of their own, `hearth-vmm`.

#![forbid(unsafe_code)]

mod account;
mod base;
mod cli;
mod env;
mod exec;
mod host;
mod machine;
mod output;
mod snapshot;
mod up;
mod vmm;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Up(arguments) => up::run(&cli.shared, arguments),
        Command::Env => env::run(&cli.shared),
        Command::Account(command) => account::run(&cli.shared, &command),
        Command::Key(command) => account::run_key(&cli.shared, &command),
        Command::Vmm(arguments) => vmm::run(&arguments),
        Command::Base(command) => base::run(&cli.shared, command),
        Command::Host { command } => host::run(&cli.shared, command),
        Command::Machine(command) => machine::run(&cli.shared, command),
        Command::Snapshot(command) => snapshot::run(&cli.shared, command),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
