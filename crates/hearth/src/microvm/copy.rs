//! `hearth cp`: one file into a microVM or out of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_client::{Client, Payload};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cli::microvm::CopyArguments;
use crate::cli::values::Place;
use crate::shared::Shared;
use crate::{names, output};

/// Permissions of what comes from standard input.
const MODE: u32 = 0o644;

/// The bits of permissions.
const MODE_BITS: u32 = 0o7777;

pub(crate) async fn copy(
    shared: &Shared,
    client: &Client,
    arguments: CopyArguments,
) -> Result<ExitCode> {
    match (arguments.source, arguments.target) {
        (source @ (Place::Local(_) | Place::Standard), Place::Guest { microvm, path }) => {
            let id = names::microvm(client, &microvm).await?;
            let (payload, mode, name) = open(source).await?;
            let path = inside(&path, name.as_deref())?;
            let answer = client.put_file(&id, &path, mode, payload).await?;
            if shared.json {
                output::json(&answer)?;
            }
        }
        (Place::Guest { microvm, path }, target @ (Place::Local(_) | Place::Standard)) => {
            let id = names::microvm(client, &microvm).await?;
            match target {
                Place::Local(target) => download(client, &id, &path, &target).await?,
                _ => print(client, &id, &path).await?,
            }
        }
        _ => bail!("one of the two has to be in a microVM, ID:/path, and the other one here"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What goes in: content, permissions, name.
async fn open(source: Place) -> Result<(Payload, u32, Option<String>)> {
    let Place::Local(path) = source else {
        let mut content = Vec::new();
        tokio::io::stdin()
            .read_to_end(&mut content)
            .await
            .context("cannot read standard input")?;
        return Ok((Payload::from(Bytes::from(content)), MODE, None));
    };
    let failed = || format!("cannot read {}", path.display());
    let file = File::open(&path).await.with_context(failed)?;
    let metadata = file.metadata().await.with_context(failed)?;
    if metadata.is_dir() {
        bail!(
            "{} is a folder; pack it (tar -cf x.tar), copy the archive, and unpack it with `hearth exec`",
            path.display()
        );
    }
    let mode = metadata.permissions().mode() & MODE_BITS;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok((Payload::file(file).await?, mode, name))
}

/// The path in the guest: a slash at its end means a folder that keeps the name.
fn inside(path: &str, name: Option<&str>) -> Result<String> {
    match (path.ends_with('/'), name) {
        (false, _) => Ok(path.to_owned()),
        (true, Some(name)) => Ok(format!("{path}{name}")),
        (true, None) => bail!("standard input has no name; write the file's whole path"),
    }
}

/// The path here: a folder keeps the name.
fn outside(path: &str, target: &Path) -> Result<PathBuf> {
    if !target.is_dir() {
        return Ok(target.to_owned());
    }
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() && name != ".." => Ok(target.join(name)),
        _ => bail!("{path} names no file"),
    }
}

/// The file appears whole or not at all, unless its place is no file (a pipe, `/dev/null`).
async fn download(client: &Client, id: &str, path: &str, target: &Path) -> Result<()> {
    let mut content = client.get_file(id, path).await?;
    let target = outside(path, target)?;
    let is_special = target.exists() && !target.is_file();
    let mut beside = target.clone().into_os_string();
    beside.push(".part");
    let place = if is_special {
        target.clone()
    } else {
        beside.into()
    };
    let failed = || format!("cannot write {}", place.display());
    let written = async {
        let mut file = File::create(&place).await.with_context(failed)?;
        while let Some(bytes) = content.next().await? {
            file.write_all(&bytes).await.with_context(failed)?;
        }
        file.flush().await.with_context(failed)
    };
    let written = written.await;
    if is_special {
        return written;
    }
    if let Err(error) = written {
        // What is there is less than the file.
        let _ = std::fs::remove_file(&place);
        return Err(error);
    }
    std::fs::rename(&place, &target).with_context(|| format!("cannot write {}", target.display()))
}

async fn print(client: &Client, id: &str, path: &str) -> Result<()> {
    let mut content = client.get_file(id, path).await?;
    while let Some(bytes) = content.next().await? {
        output::bytes(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_keep_the_name() {
        assert_eq!(inside("/tmp/x", Some("a")).unwrap(), "/tmp/x");
        assert_eq!(inside("/tmp/", Some("a")).unwrap(), "/tmp/a");
        assert!(inside("/tmp/", None).is_err());
        let folder = tempfile::tempdir().unwrap();
        let here = |path| outside(path, folder.path());
        assert_eq!(
            here("/etc/os-release").unwrap(),
            folder.path().join("os-release")
        );
        // What a path says must not lead out of the folder.
        assert!(here("/etc/..").is_err() && here("/etc/").is_err());
        let file = folder.path().join("new");
        assert_eq!(outside("/x", &file).unwrap(), file);
    }
}
