//! `hearth function rm`.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use serde_json::json;

use crate::output;
use crate::shared::Shared;

pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    functions: &[String],
) -> Result<ExitCode> {
    // All names are looked up before anything is deleted.
    for function in functions {
        client.function_configuration(function).await?;
    }
    for function in functions {
        client.delete_function(function).await?;
        if !shared.json {
            output::say(function)?;
        }
    }
    if shared.json {
        output::json(&json!({"Deleted": functions}))?;
    }
    Ok(ExitCode::SUCCESS)
}
