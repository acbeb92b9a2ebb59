//! `hearth image ls` and `show`.

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::shared::Shared;
use crate::view::{age, size, text, time, word};
use crate::{names, output};

pub(super) async fn list(shared: &Shared, client: &Client) -> Result<ExitCode> {
    let images = client.images(None).await?;
    if shared.json {
        output::json(&json!({"items": images}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let rows: Vec<_> = images
        .iter()
        .map(|image| {
            [
                word(image, "name"),
                word(image, "state"),
                word(image, "latestActiveImageVersion"),
                word(image, "latestFailedImageVersion"),
                age(time(image, "createdAt"), now),
            ]
        })
        .collect();
    output::table(["IMAGE", "STATE", "ACTIVE", "FAILED", "AGE"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows an image, and each version with its builds.
pub(super) async fn show(shared: &Shared, client: &Client, typed: &str) -> Result<ExitCode> {
    let named = names::image(client, typed).await?;
    let image = client.image(&named.arn).await?;
    let versions = match &named.version {
        Some(version) => vec![client.version(&named.arn, version).await?],
        None => client.versions(&named.arn).await?,
    };
    let mut builds = Vec::new();
    for version in &versions {
        let number = text(version, "imageVersion");
        for build in client.builds(&named.arn, number).await? {
            let id = text(&build, "buildId");
            builds.push(client.build(&named.arn, number, id).await?);
        }
    }
    if shared.json {
        output::json(&json!({"image": image, "versions": versions, "builds": builds}))?;
    } else {
        print(&image, &versions, &builds)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(image: &Value, versions: &[Value], builds: &[Value]) -> Result<()> {
    output::members(&[
        ("name", word(image, "name")),
        ("arn", word(image, "imageArn")),
        ("state", word(image, "state")),
        ("active version", word(image, "latestActiveImageVersion")),
        ("failed version", word(image, "latestFailedImageVersion")),
        ("tags", word(image, "tags")),
    ])?;
    output::say("")?;
    let now = Timestamp::now();
    let rows: Vec<_> = versions
        .iter()
        .map(|version| {
            let number = text(version, "imageVersion");
            let build = builds
                .iter()
                .rfind(|build| text(build, "imageVersion") == number);
            let of_build = |member: &str| build.map_or("-".to_owned(), |build| word(build, member));
            [
                number.to_owned(),
                word(version, "state"),
                word(version, "status"),
                memory(version),
                build.map_or("-".to_owned(), stored),
                age(time(version, "createdAt"), now),
                of_build("stateReason"),
            ]
        })
        .collect();
    output::table(
        [
            "VERSION", "STATE", "STATUS", "MEMORY", "STORED", "AGE", "REASON",
        ],
        &rows,
    )
}

fn memory(version: &Value) -> String {
    let mib = version["resources"][0]["minimumMemoryInMiB"].as_u64();
    mib.map_or("-".to_owned(), |mib| format!("{mib} MiB"))
}

/// The size of a version on disk: its memory and disk snapshots. Code is shared with other versions.
fn stored(build: &Value) -> String {
    let sizes = &build["snapshotBuild"];
    let bytes = ["diskSnapshotSizeInBytes", "memorySnapshotSizeInBytes"]
        .iter()
        .filter_map(|member| sizes.get(member)?.as_u64())
        .sum::<u64>();
    if bytes == 0 {
        "-".to_owned()
    } else {
        size(bytes)
    }
}
