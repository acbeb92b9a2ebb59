//! `hearth image build`: from a folder to an image.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_client::{Client, Payload};
use serde_json::{Map, Value, json};

use super::check::check;
use super::follow::{Building, Progress};
use crate::cli::image::BuildArguments;
use crate::cli::values::{HookSwitch, IMAGE_HOOKS, MICROVM_HOOKS};
use crate::names::log_group;
use crate::pack::{self, Package};
use crate::refused::BuildInterrupted;
use crate::shared::Shared;
use crate::view::{size, text};
use crate::{names, output};

/// Longest name of an image (AWS).
const MAX_NAME_CHARACTERS: usize = 64;

pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    arguments: BuildArguments,
) -> Result<ExitCode> {
    let answer = build(client, &arguments).await?;
    if shared.json {
        output::json(&answer)?;
    } else {
        output::say(&name(&arguments)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name that was typed, or that of the folder.
fn name(arguments: &BuildArguments) -> Result<String> {
    match &arguments.name {
        Some(name) => Ok(name.clone()),
        None => name_of(&arguments.folder),
    }
}

/// Builds and answers the version. With `--no-wait` it answers the version as it was when its build began.
pub(crate) async fn build(client: &Client, arguments: &BuildArguments) -> Result<Value> {
    let progress = Progress::start();
    let name = name(arguments)?;
    let region = &client.settings().region;
    check(arguments, &name, &base_arn(arguments, region))?;
    let package = pack::build(&arguments.folder)?;
    progress.step(&format!(
        "packed {} files into {}",
        package.count,
        size(package.zip.len() as u64)
    ));
    let bucket = &arguments.bucket;
    let uploaded = upload(client, bucket, &name, package).await;
    let uri = uploaded.with_context(|| format!("cannot upload to the bucket {bucket}"))?;
    progress.step(&format!("uploaded {uri}"));
    let account = client.account().await?;
    let input = input(arguments, region, &account, &uri);
    let made = create_or_update(client, &name, input).await;
    let made = made.with_context(|| format!("the service does not build {name}"))?;
    let (arn, version) = (text(&made, "imageArn"), text(&made, "imageVersion"));
    progress.step(&format!("building {name} {version}"));
    if arguments.no_wait {
        return Ok(made);
    }
    let building = Building {
        client,
        arn,
        version,
        group: &log_group(&name),
    };
    let build = tokio::select! {
        build = building.follow(&progress) => build?,
        // Without a handler Ctrl-C ends this process, which is as good.
        Ok(()) = tokio::signal::ctrl_c() => return Err(BuildInterrupted(name).into()),
    };
    if text(&build, "buildState") != "SUCCESSFUL" {
        bail!(
            "{name} {version} was not built: {}",
            text(&build, "stateReason")
        );
    }
    let took = took(progress.seconds(), progress.waited());
    progress.step(&summary(&name, version, &build, &took));
    Ok(client.version(arn, version).await?)
}

/// The time of a build, and how much of it was the queue's.
fn took(seconds: f64, waited: Duration) -> String {
    match waited.as_secs() {
        0 => format!("{seconds:.1} s"),
        _ => format!(
            "{seconds:.1} s ({:.1} s of them in the queue)",
            waited.as_secs_f64()
        ),
    }
}

fn summary(name: &str, version: &str, build: &Value, took: &str) -> String {
    let sizes = &build["snapshotBuild"];
    let part = |what: &str, member: &str| {
        let bytes = sizes
            .get(member)
            .and_then(Value::as_u64)
            .unwrap_or_default();
        format!("{what} {}", size(bytes))
    };
    format!(
        "{name} {version} is ready after {took}: {}, {}; {}, of which the base image is shared",
        part("memory", "memorySnapshotSizeInBytes"),
        part("disk", "diskSnapshotSizeInBytes"),
        part("code", "codeInstallSizeInBytes"),
    )
}

/// The name of the folder, with a dash for each character that an image's name may not have.
fn name_of(folder: &Path) -> Result<String> {
    let whole = folder
        .canonicalize()
        .with_context(|| format!("there is no folder {}", folder.display()))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let allowed = |character: char| {
        if character.is_ascii_alphanumeric() || character == '_' {
            character
        } else {
            '-'
        }
    };
    let name: String = name
        .chars()
        .take(MAX_NAME_CHARACTERS)
        .map(allowed)
        .collect();
    if name.is_empty() {
        bail!("this folder has no name; give the image one with --name");
    }
    Ok(name)
}

/// The key contains the content's hash, so a concurrent build of the same name cannot replace the upload.
async fn upload(client: &Client, bucket: &str, name: &str, package: Package) -> Result<String> {
    let payload = Payload::from(Bytes::from(package.zip));
    let key = format!("{name}/{}.zip", payload.short_hash());
    client.ensure_bucket(bucket).await?;
    client.put_object(bucket, &key, payload).await?;
    Ok(format!("s3://{bucket}/{key}"))
}

async fn create_or_update(client: &Client, name: &str, mut input: Value) -> Result<Value> {
    match names::find_image(client, name).await? {
        Some(arn) => Ok(client.update_image(&arn, &input).await?),
        None => {
            input["name"] = json!(name);
            Ok(client.create_image(&input).await?)
        }
    }
}

fn base_arn(arguments: &BuildArguments, region: &str) -> String {
    let base = &arguments.base;
    if base.starts_with("arn:") {
        return base.clone();
    }
    format!("arn:aws:lambda:{region}:aws:microvm-image:{base}")
}

/// The members of `CreateMicrovmImage` and `UpdateMicrovmImage` but the name.
fn input(arguments: &BuildArguments, region: &str, account: &str, uri: &str) -> Value {
    let base = base_arn(arguments, region);
    let role = arguments.role.clone();
    let mut input = json!({
        "baseImageArn": base,
        "buildRoleArn": role.unwrap_or_else(|| format!("arn:aws:iam::{account}:role/build")),
        "codeArtifact": {"uri": uri},
    });
    if let Some(memory_mib) = arguments.memory {
        input["resources"] = json!([{"minimumMemoryInMiB": memory_mib}]);
    }
    if let Some(description) = &arguments.description {
        input["description"] = json!(description);
    }
    if !arguments.env.is_empty() {
        let variables = arguments.env.iter();
        let variables = variables.map(|variable| (variable.name.clone(), json!(variable.value)));
        input["environmentVariables"] = Value::Object(variables.collect());
    }
    if arguments.all_capabilities {
        input["additionalOsCapabilities"] = json!(["ALL"]);
    }
    if !arguments.egress.is_empty() {
        input["egressNetworkConnectors"] = json!(arguments.egress);
    }
    if !arguments.hooks.is_empty() || arguments.port.is_some() {
        input["hooks"] = hooks(&arguments.hooks, arguments.port);
    }
    input
}

fn hooks(switches: &[HookSwitch], port: Option<u16>) -> Value {
    let group = |names: &[&str]| {
        let mut members = Map::new();
        for switch in switches
            .iter()
            .filter(|switch| names.contains(&switch.name))
        {
            members.insert(switch.name.to_owned(), json!("ENABLED"));
            if let Some(timeout_s) = switch.timeout_s {
                let member = format!("{}TimeoutInSeconds", switch.name);
                members.insert(member, json!(timeout_s));
            }
        }
        members
    };
    let mut hooks = Map::new();
    if let Some(port) = port {
        hooks.insert("port".to_owned(), json!(port));
    }
    for (member, names) in [
        ("microvmImageHooks", IMAGE_HOOKS.as_slice()),
        ("microvmHooks", MICROVM_HOOKS.as_slice()),
    ] {
        let group = group(names);
        if !group.is_empty() {
            hooks.insert(member.to_owned(), Value::Object(group));
        }
    }
    Value::Object(hooks)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::image::ImageCommand;
    use crate::cli::{Cli, ClientCommand, Command};

    fn typed(words: &[&str]) -> BuildArguments {
        let all = ["hearth", "image", "build"].iter().chain(words);
        match Cli::parse_from(all).command {
            Command::Client(ClientCommand::Image(ImageCommand::Build(arguments))) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_typed_is_said() {
        let input = input(&typed(&["x"]), "eu-1", "000000000007", "s3://b/k");
        assert_eq!(
            input,
            json!({
                "baseImageArn": "arn:aws:lambda:eu-1:aws:microvm-image:al2023-1",
                "buildRoleArn": "arn:aws:iam::000000000007:role/build",
                "codeArtifact": {"uri": "s3://b/k"},
            })
        );
    }

    #[test]
    fn hooks_go_into_their_groups() {
        let arguments = typed(&[
            "x",
            "--port=80",
            "--hook=ready=9",
            "--hook=run",
            "--memory=512",
            "-eA=1",
        ]);
        let input = input(&arguments, "eu-1", "0", "s3://b/k");
        assert_eq!(
            input["hooks"],
            json!({
                "port": 80,
                "microvmImageHooks": {"ready": "ENABLED", "readyTimeoutInSeconds": 9},
                "microvmHooks": {"run": "ENABLED"},
            })
        );
        assert_eq!(input["resources"], json!([{"minimumMemoryInMiB": 512}]));
        assert_eq!(input["environmentVariables"], json!({"A": "1"}));
    }

    #[test]
    fn what_versions_share_is_told_apart() {
        let build = json!({"snapshotBuild": {
            "codeInstallSizeInBytes": 1_288_490_189,
            "memorySnapshotSizeInBytes": 1 << 20,
            "diskSnapshotSizeInBytes": 1 << 10,
        }});
        let took = took(70.0, Duration::from_secs(60));
        let told = summary("web", "1.0", &build, &took);
        assert!(
            told.contains("after 70.0 s (60.0 s of them in the queue)"),
            "{told}"
        );
        assert!(
            told.ends_with("code 1.2 GiB, of which the base image is shared"),
            "{told}"
        );
    }

    #[test]
    fn images_are_called_like_their_folders() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("my app.v2");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(name_of(&folder).unwrap(), "my-app-v2");
        assert!(name_of(&parent.path().join("none")).is_err());
    }
}
