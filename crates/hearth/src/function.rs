//! `hearth function`: Lambda functions of the service.
//!
//! ```text
//! source   a folder or a zip -> the zip that is sent, and the files that say what it is
//! guess    those files -> runtime and handler (pure)
//! deploy   create, update, and wait until it counts
//! invoke, show, logs, remove             one command each
//! dev      deploy and invoke, again on each change
//! ```

mod deploy;
mod dev;
mod guess;
mod invoke;
mod logs;
mod members;
mod remove;
mod show;
mod source;

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;

use crate::cli::function::FunctionCommand;
use crate::shared::Shared;

pub(crate) async fn run(
    shared: &Shared,
    client: &Client,
    command: FunctionCommand,
) -> Result<ExitCode> {
    match command {
        FunctionCommand::Create(arguments) => deploy::create(shared, client, &arguments).await,
        FunctionCommand::Update(arguments) => deploy::update(shared, client, &arguments).await,
        FunctionCommand::Invoke(arguments) => invoke::run(shared, client, &arguments).await,
        FunctionCommand::Ls => show::list(shared, client).await,
        FunctionCommand::Show { function } => show::show(shared, client, &function).await,
        FunctionCommand::Logs(arguments) => logs::run(shared, client, &arguments).await,
        FunctionCommand::Rm { functions } => remove::run(shared, client, &functions).await,
        FunctionCommand::Dev(arguments) => dev::run(shared, client, &arguments).await,
    }
}
