//! `hearth image rm`: deleting images and versions. What is being built is cancelled first: the service deletes nothing
//! of an image during a build, as AWS does not.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hearth_client::{Client, ClientError};
use serde_json::{Value, json};

use crate::names::{self, ImageName};
use crate::output;
use crate::shared::Shared;
use crate::view::text;

/// Pause between two polls.
const POLL: Duration = Duration::from_millis(200);

/// Longest wait for a deletion: it removes snapshots of some GiB.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    typed: &[String],
    waits: bool,
) -> Result<ExitCode> {
    // All names are looked up before anything is deleted.
    let mut found = Vec::new();
    for name in typed {
        found.push(names::image(client, name).await?);
    }
    let mut answers = Vec::new();
    for (image, typed) in found.iter().zip(typed) {
        cancel_build(client, image).await?;
        answers.push(delete(client, image).await?);
        if waits {
            wait(client, image).await?;
        }
        if !shared.json {
            output::say(typed)?;
        }
    }
    if shared.json {
        output::json(&json!({"items": answers}))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends the build of what is to be deleted: of the image, or of that version alone.
async fn cancel_build(client: &Client, image: &ImageName) -> Result<()> {
    let state = match &image.version {
        Some(version) => client.version(&image.arn, version).await?,
        None => client.image(&image.arn).await?,
    };
    if !is_built(text(&state, "state")) {
        return Ok(());
    }
    match client.cancel_build(names::image_name(&image.arn)).await {
        // It has ended meanwhile, or one of the versions is being removed, which deleting tells.
        Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 409) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// Whether an image or a version in this state may be waiting to be built or being built.
fn is_built(state: &str) -> bool {
    matches!(state, "CREATING" | "UPDATING" | "PENDING" | "IN_PROGRESS")
}

async fn delete(client: &Client, image: &ImageName) -> Result<Value, ClientError> {
    match &image.version {
        Some(version) => client.delete_version(&image.arn, version).await,
        None => client.delete_image(&image.arn).await,
    }
}

async fn wait(client: &Client, image: &ImageName) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = match &image.version {
            Some(version) => client.version(&image.arn, version).await,
            None => client.image(&image.arn).await,
        };
        let state = match state {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let state = text(&state, "state");
        match state {
            "DELETED" => return Ok(()),
            "DELETE_FAILED" => bail!("{} could not be deleted", image.arn),
            _ if Instant::now() > deadline => {
                bail!("{} is {state} still after {LIMIT:?}", image.arn)
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_cancelled_and_nothing_else() {
        for state in ["CREATING", "UPDATING", "PENDING", "IN_PROGRESS"] {
            assert!(is_built(state), "{state}");
        }
        for state in [
            "CREATED",
            "CREATE_FAILED",
            "DELETING",
            "SUCCESSFUL",
            "FAILED",
        ] {
            assert!(!is_built(state), "{state}");
        }
    }
}
