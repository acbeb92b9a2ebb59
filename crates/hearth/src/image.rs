//! `hearth image`: images of the service.

mod build;
mod check;
mod du;
mod follow;
mod remove;
mod show;

pub(crate) use build::build;
pub(crate) use du::name as holding_name;

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;

use crate::cli::image::ImageCommand;
use crate::shared::Shared;

pub(crate) async fn run(
    shared: &Shared,
    client: &Client,
    command: ImageCommand,
) -> Result<ExitCode> {
    match command {
        ImageCommand::Build(arguments) => build::run(shared, client, *arguments).await,
        ImageCommand::Ls => show::list(shared, client).await,
        ImageCommand::Show { image } => show::show(shared, client, &image).await,
        ImageCommand::Du => du::run(shared, client).await,
        ImageCommand::Rm { images, no_wait } => {
            remove::run(shared, client, &images, !no_wait).await
        }
    }
}
