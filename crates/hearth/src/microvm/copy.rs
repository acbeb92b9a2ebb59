//! `hearth cp`: files and folders into a microVM or out of it.

mod folder;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_client::{Client, ClientError, FileContent, Payload, Refusal};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) use folder::{download as download_folder, upload as upload_folder};

use crate::cli::microvm::CopyArguments;
use crate::cli::values::Place;
use crate::shared::Shared;
use crate::{names, output};

/// Permissions of a file that is made from standard input.
const MODE: u32 = 0o644;

/// Mask of the permission bits in a mode.
const MODE_BITS: u32 = 0o7777;

pub(crate) async fn copy(
    shared: &Shared,
    client: &Client,
    arguments: CopyArguments,
) -> Result<ExitCode> {
    let answer = match (arguments.source, arguments.target) {
        (Place::Local(source), Place::Guest { microvm, path }) if arguments.recursive => {
            let id = names::microvm(client, &microvm).await?;
            let path = as_directory(client, &id, &path).await?;
            folder::upload(client, &id, &source, &path).await?
        }
        (Place::Guest { microvm, path }, Place::Local(target)) if arguments.recursive => {
            let id = names::microvm(client, &microvm).await?;
            let max_bytes = u64::from(arguments.max_size) << 20;
            folder::download(client, &id, &path, &target, max_bytes).await?;
            Value::Null
        }
        _ if arguments.recursive => bail!("a folder is copied from here to ID:/path or back"),
        (source @ (Place::Local(_) | Place::Standard), Place::Guest { microvm, path }) => {
            let id = names::microvm(client, &microvm).await?;
            let (payload, mode, name) = open(source).await?;
            let path = as_directory(client, &id, &path).await?;
            let path = inside(&path, name.as_deref())?;
            client.put_file(&id, &path, mode, payload).await?
        }
        (Place::Guest { microvm, path }, target @ (Place::Local(_) | Place::Standard)) => {
            let id = names::microvm(client, &microvm).await?;
            let content = client.get_file(&id, &path).await?;
            match target {
                Place::Local(target) => download(content, &outside(&path, &target)?).await?,
                _ => print(content).await?,
            }
            Value::Null
        }
        _ => bail!("one of the two has to be in a microVM, ID:/path, and the other one here"),
    };
    if shared.json && !answer.is_null() {
        output::json(&answer)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the source of an upload: content, permissions, name.
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
        bail!("{} is a folder; copy it with --recursive", path.display());
    }
    let mode = metadata.permissions().mode() & MODE_BITS;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok((Payload::file(file).await?, mode, name))
}

/// The path, with a slash at its end if it names a directory of the guest: as for `docker cp`, what is copied is put
/// into it and keeps its name.
async fn as_directory(client: &Client, id: &str, path: &str) -> Result<String> {
    if path.ends_with('/') {
        return Ok(path.to_owned());
    }
    // Only the head of the answer is read: the guest stops packing the directory when the connection ends.
    match client.get_directory(id, path).await {
        Ok(_) => Ok(format!("{path}/")),
        Err(error) if is_no_directory(&error) => Ok(path.to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the guest has refused the path: nothing is there, or something that is no directory.
fn is_no_directory(error: &ClientError) -> bool {
    let is_refused = |refusal: &Refusal| refusal.code == "ValidationException";
    error.is_not_found() || error.refusal().is_some_and(is_refused)
}

/// The target path in the guest. A path with a slash at its end is a folder: the file keeps its name in it.
fn inside(path: &str, name: Option<&str>) -> Result<String> {
    match (path.ends_with('/'), name) {
        (false, _) => Ok(path.to_owned()),
        (true, Some(name)) => Ok(format!("{path}{name}")),
        (true, None) => {
            bail!(
                "{path} is a directory, and standard input has no name; write the file's whole path"
            )
        }
    }
}

/// The target path on this host. In a folder that exists the file keeps its name.
fn outside(path: &str, target: &Path) -> Result<PathBuf> {
    if !target.is_dir() {
        return Ok(target.to_owned());
    }
    match path.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !matches!(name, "" | "." | "..") => Ok(target.join(name)),
        _ => bail!("{path} has no name to keep; write a whole path"),
    }
}

/// Writes the file atomically, unless the target is not a regular file (a pipe, `/dev/null`).
async fn download(content: FileContent, target: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", target.display());
    if target.exists() && !target.is_file() {
        let mut file = File::create(target).await.with_context(failed)?;
        return write(content, &mut file).await.with_context(failed);
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The temporary file is removed on drop unless it was kept.
    let beside = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(MODE))
        .tempfile_in(folder)
        .with_context(failed)?;
    let mut file = File::from_std(beside.reopen().with_context(failed)?);
    write(content, &mut file).await.with_context(failed)?;
    beside.persist(target).with_context(failed)?;
    Ok(())
}

/// Writes the stream to a file, or whatever else takes bytes.
async fn write(mut content: FileContent, file: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    while let Some(bytes) = content.next().await? {
        file.write_all(&bytes).await?;
    }
    Ok(file.flush().await?)
}

async fn print(mut content: FileContent) -> Result<()> {
    while let Some(bytes) = content.next().await? {
        output::bytes(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_refused_is_no_directory() {
        let refused = |status, code: &str| {
            ClientError::from(Refusal {
                operation: "GetMicrovmFile",
                status,
                code: code.to_owned(),
                message: String::new(),
            })
        };
        assert!(is_no_directory(&refused(404, "ResourceNotFoundException")));
        assert!(is_no_directory(&refused(400, "ValidationException")));
        assert!(!is_no_directory(&refused(409, "ConflictException")));
        assert!(!is_no_directory(&ClientError::Silent("GetMicrovmFile")));
    }

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
        assert_eq!(here("/etc/apt/").unwrap(), folder.path().join("apt"));
        // What a path says must not lead out of the folder.
        assert!(here("/etc/..").is_err() && here("/").is_err());
        let file = folder.path().join("new");
        assert_eq!(outside("/x", &file).unwrap(), file);
    }
}
