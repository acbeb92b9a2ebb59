//! `hearth token`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_client::Client;
use serde_json::Value;

use crate::cli::microvm::TokenArguments;
use crate::shared::Shared;
use crate::{names, output};

pub(crate) async fn token(
    shared: &Shared,
    client: &Client,
    arguments: TokenArguments,
) -> Result<ExitCode> {
    let id = names::microvm(client, &arguments.one.microvm).await?;
    let answer = client
        .auth_token(&id, arguments.port, arguments.expires)
        .await?;
    if shared.json {
        output::json(&answer)?;
    } else {
        output::say(of_answer(&answer)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The token in an answer, which has it under the name of its header.
pub(super) fn of_answer(answer: &Value) -> Result<&str> {
    let headers = answer.get("authToken").and_then(Value::as_object);
    let token = headers.and_then(|headers| headers.values().next()?.as_str());
    token.context("the answer has no token")
}
