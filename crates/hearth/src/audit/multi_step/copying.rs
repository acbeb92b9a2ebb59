//! Attacks of a guest on clients that copy its folders.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::time::timeout;

use super::super::attempt::Attempt;
use super::super::fixture::Fixture;
use super::super::guest::execute;
use crate::microvm::copy;

/// Copies a folder out and in again, in which links lead to a file of this host and to its folder. The attack succeeds
/// if the guest then has that file. The control is a file of the guest's own.
pub(super) async fn links(fixture: &Fixture) -> Result<Attempt> {
    const PREPARE: &str = r#"rm -rf /tmp/out /tmp/back && mkdir /tmp/out && ln -s "$0" /tmp/out/link &&
        ln -s "$1" /tmp/out/folder && printf mine > /tmp/out/own"#;
    const SECRET: &[u8] = b"of the host";
    let host = tempfile::tempdir()?;
    let secret = host.path().join("secret");
    std::fs::write(&secret, SECRET)?;
    let (tenant, microvm) = (&fixture.tenant, &fixture.open);
    let links = [&*secret, host.path()].map(|path| path.to_string_lossy());
    let prepare = ["sh", "-c", PREPARE, &links[0], &links[1]];
    execute(tenant, microvm, &prepare).await?;
    let copy = host.path().join("copy");
    copy::download_folder(tenant, &microvm.id, "/tmp/out", &copy, MAX_FOLDER_BYTES).await?;
    copy::upload_folder(tenant, &microvm.id, &copy, "/tmp/back").await?;
    let has = async |path: &str, wanted: &[u8]| {
        // What is not there is no file.
        let Ok(mut content) = tenant.get_file(&microvm.id, path).await else {
            return false;
        };
        let mut bytes = Vec::new();
        while let Ok(Some(more)) = content.next().await {
            bytes.extend_from_slice(&more);
        }
        bytes == wanted
    };
    Ok(Attempt {
        attack: has("/tmp/back/link", SECRET).await || has("/tmp/back/folder/secret", SECRET).await,
        control: has("/tmp/back/own", b"mine").await,
    })
}

/// Size limit of the folders of this module: many times their content.
const MAX_FOLDER_BYTES: u64 = 1 << 20;

/// Longest time to copy a folder of a few files, also in the emulated host.
const COPY_TIME: Duration = Duration::from_secs(60);

/// Copies out a folder whose entries do harm if they are recreated on the host unchanged: a device, a pipe that nobody
/// writes, a set-user-ID program of root, names with line breaks and `..`, a path of a hundred folders. The attack
/// succeeds if the copy does not end, or contains a special file or a set-user-ID program.
pub(super) async fn hostile_folder(fixture: &Fixture) -> Result<Attempt> {
    const PREPARE: &str = r#"rm -rf /tmp/hostile && mkdir /tmp/hostile && cd /tmp/hostile && printf mine > own &&
        mkdir special && mknod special/kmsg c 1 11 && mkfifo special/pipe && mkdir setuid && cp /bin/true setuid/program &&
        chmod 6755 setuid/program && mkdir odd && printf x > "$(printf 'odd/..\n..')" && printf x > 'odd/..\..\up' &&
        python3 -c 'import os; os.makedirs("deep" + "/d" * 100)' && mkdir own-folder && printf mine > own-folder/own"#;
    let (tenant, microvm) = (&fixture.tenant, &fixture.open);
    execute(tenant, microvm, &["sh", "-c", PREPARE]).await?;
    let host = tempfile::tempdir()?;
    let mut attack = false;
    for part in ["special", "setuid", "odd", "deep"] {
        let target = host.path().join(part);
        let from = format!("/tmp/hostile/{part}");
        // A refusal is as good as a harmless copy.
        let copied = copy::download_folder(tenant, &microvm.id, &from, &target, MAX_FOLDER_BYTES);
        let is_endless = timeout(COPY_TIME, copied).await.is_err();
        attack |= is_endless || (target.exists() && has_harm(&target)?);
    }
    // Beside the targets there is nothing.
    let beside = std::fs::read_dir(host.path())?.count();
    let own = host.path().join("own-folder");
    copy::download_folder(
        tenant,
        &microvm.id,
        "/tmp/hostile/own-folder",
        &own,
        MAX_FOLDER_BYTES,
    )
    .await?;
    Ok(Attempt {
        attack: attack || beside > 4,
        control: find(&own, "own").is_some_and(|content| content == b"mine"),
    })
}

/// Copies out a folder with a file that is a terabyte of nothing: the guest pays nothing for its hole, and whoever unpacks it would write
/// it out. The attack is that more than was let in lies on this host's disk, or that the copy does not end; the control, that a
/// folder within that size comes.
pub(super) async fn endless_folder(fixture: &Fixture) -> Result<Attempt> {
    const PREPARE: &str = "rm -rf /tmp/endless /tmp/small && mkdir /tmp/endless /tmp/small && \
        truncate -s 1T /tmp/endless/hole && printf mine > /tmp/small/own";
    let (tenant, microvm) = (&fixture.tenant, &fixture.open);
    execute(tenant, microvm, &["sh", "-c", PREPARE]).await?;
    let host = tempfile::tempdir()?;
    let endless = host.path().join("endless");
    let copied = copy::download_folder(
        tenant,
        &microvm.id,
        "/tmp/endless",
        &endless,
        MAX_FOLDER_BYTES,
    );
    let has_ended = match timeout(COPY_TIME, copied).await {
        // It came, hole and all.
        Ok(Ok(())) => false,
        Ok(Err(_)) => true,
        Err(_) => false,
    };
    let small = host.path().join("small");
    copy::download_folder(tenant, &microvm.id, "/tmp/small", &small, MAX_FOLDER_BYTES).await?;
    Ok(Attempt {
        attack: !has_ended || bytes_in(&endless)? > MAX_FOLDER_BYTES,
        control: find(&small, "own").is_some_and(|content| content == b"mine"),
    })
}

/// What the files of a folder take; nothing of one that is not there.
fn bytes_in(folder: &Path) -> Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = std::fs::symlink_metadata(&path)?;
        bytes += match metadata.is_dir() {
            true => bytes_in(&path)?,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

/// Whether something in it is a special file, or a program that runs as its owner.
fn has_harm(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = std::fs::symlink_metadata(entry.path())?;
        let kind = metadata.file_type();
        let is_special = kind.is_fifo() || kind.is_char_device() || kind.is_block_device();
        if is_special || (kind.is_file() && metadata.mode() & 0o6000 != 0) {
            return Ok(true);
        }
        if kind.is_dir() && has_harm(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The content of the file with that name, in the folder or below it.
fn find(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let direct = std::fs::read(folder.join(name)).ok();
    direct.or_else(|| {
        let entries = std::fs::read_dir(folder).ok()?;
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        folders
            .into_iter()
            .find_map(|entry| find(&entry.path(), name))
    })
}
