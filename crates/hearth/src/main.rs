//! The `hearth` command line.
//!
//! Parsing ([`cli`]) is separate from execution: every command is a module whose function takes the parsed arguments
//! and answers an exit code. MicroVMs run in processes of their own, `hearth-vmm`.
//!
//! ```text
//! up, down, status, doctor, env              the service of a data directory
//! image, function, run, ps, exec, cp, ...    clients of a service, by its public APIs alone ([`client`])
//! base, host, machine, snapshot              this host, without the service
//! ```

#![forbid(unsafe_code)]

mod cli;
mod config;
mod failure;
mod shared;

mod damaged;
mod doctor;
mod down;
mod env;
mod status;
mod up;

mod account;
mod audit;
mod client;
mod function;
mod image;
mod microvm;
mod names;
mod output;
mod pack;
mod refused;
mod runtime;
mod terminal;
mod view;

mod base;
mod exec;
mod host;
mod machine;
mod snapshot;
mod vmm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use crate::cli::service::AuditArguments;
use crate::cli::{Cli, ClientCommand, Command};
use crate::shared::Shared;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Shared::new(cli.global)
        .map_err(Into::into)
        .and_then(|shared| run(&shared, cli.command));
    outcome.unwrap_or_else(|error| failure::report(&error))
}

fn run(shared: &Shared, command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(arguments) => up::run(shared, &arguments),
        Command::Down(arguments) => down::run(shared, &arguments),
        Command::Status => status::run(shared),
        Command::Doctor => doctor::run(shared),
        Command::Env => env::run(shared),
        Command::Vmm(arguments) => vmm::run(&arguments),
        Command::Base(command) => base::run(shared, command),
        Command::Runtime(command) => runtime::run(shared, command),
        Command::Host { command } => host::run(shared, command),
        Command::Machine(command) => machine::run(shared, command),
        Command::Snapshot(command) => snapshot::run(shared, command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hearth", &mut script);
            output::bytes(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        // What it would do is said without a service.
        Command::Client(ClientCommand::Audit(AuditArguments { list: true })) => audit::list(shared),
        Command::Client(command) => {
            client::run(shared, async |client| ask(shared, &client, command).await)
        }
    }
}

/// Commands that are clients of the service.
async fn ask(
    shared: &Shared,
    client: &hearth_client::Client,
    command: ClientCommand,
) -> Result<ExitCode> {
    match command {
        ClientCommand::Audit(_) => audit::run(shared, client).await,
        ClientCommand::Account(command) => account::run(shared, client, &command).await,
        ClientCommand::Key(command) => account::run_key(shared, client, &command).await,
        ClientCommand::Image(command) => image::run(shared, client, command).await,
        ClientCommand::Function(command) => function::run(shared, client, command).await,
        ClientCommand::Run(arguments) => microvm::run(shared, client, arguments).await,
        ClientCommand::Ps(arguments) => microvm::list(shared, client, arguments).await,
        ClientCommand::Show(arguments) => microvm::show(shared, client, arguments).await,
        ClientCommand::Exec(arguments) => microvm::exec(shared, client, arguments).await,
        ClientCommand::Shell(one) => microvm::shell(shared, client, one).await,
        ClientCommand::Cp(arguments) => microvm::copy(shared, client, arguments).await,
        ClientCommand::Logs(arguments) => microvm::logs(shared, client, arguments).await,
        ClientCommand::Suspend(some) => microvm::suspend(shared, client, some).await,
        ClientCommand::Resume(some) => microvm::resume(shared, client, some).await,
        ClientCommand::Fork(one) => microvm::fork(shared, client, one).await,
        ClientCommand::Rm(arguments) => microvm::remove(shared, client, arguments).await,
        ClientCommand::Token(arguments) => microvm::token(shared, client, arguments).await,
        ClientCommand::Curl(arguments) => microvm::curl(shared, client, arguments).await,
    }
}
