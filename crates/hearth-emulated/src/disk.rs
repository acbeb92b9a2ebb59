//! The emulated host's data disk: a sparse raw file with an ext4 file system.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that a new data disk holds from the start. Written with the file system it costs as much as a copy. Sent to
/// the running host, every byte would cross an emulated network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialFile {
    /// The file here; its holes are kept.
    pub source: PathBuf,
    /// Its path on the disk, without a leading `/`.
    pub target: PathBuf,
}

/// Why a data disk was not made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file cannot be made.
    #[error("cannot create the data disk")]
    Create(#[source] io::Error),
    /// A file for it cannot be copied.
    #[error("cannot copy what the data disk is to hold: {0}")]
    Copy(String),
    /// `mke2fs` is not installed.
    #[error("cannot run mke2fs (package e2fsprogs)")]
    Run(#[source] io::Error),
    /// `mke2fs` failed.
    #[error("mke2fs failed: {0}")]
    Format(String),
}

/// Makes a formatted disk at `path` that holds `files`. The file appears under its name only when it is complete.
pub(crate) fn create(path: &Path, size_gib: u32, files: &[InitialFile]) -> Result<(), DiskError> {
    let unfinished = path.with_extension("unfinished");
    let tree = path.with_extension("tree");
    gather(files, &tree)?;
    File::create(&unfinished)
        .and_then(|file| file.set_len(u64::from(size_gib) << 30))
        .map_err(DiskError::Create)?;
    let output = Command::new("mke2fs")
        // Administrators' programs are not in everyone's PATH.
        .env(
            "PATH",
            format!(
                "{}:/usr/sbin:/sbin",
                std::env::var("PATH").unwrap_or_default()
            ),
        )
        .args(["-q", "-F", "-t", "ext4", "-m", "0"])
        // What mke2fs leaves uninitialised, the emulated processor would have to write later.
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0,discard"])
        // Few inodes: the tables are written at once, and Hearth keeps few and large files.
        .args(["-i", "65536"])
        .arg("-d")
        .arg(&tree)
        .arg(&unfinished)
        .output()
        .map_err(DiskError::Run)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(DiskError::Format(text.trim().to_owned()));
    }
    fs::remove_dir_all(&tree).map_err(DiskError::Create)?;
    fs::rename(&unfinished, path).map_err(DiskError::Create)
}

/// Makes a directory tree of these files, with hard links where possible.
fn gather(files: &[InitialFile], tree: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(tree) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DiskError::Create(error));
        }
        // Left behind by a call that was killed.
        _ => fs::create_dir_all(tree).map_err(DiskError::Create)?,
    }
    for file in files {
        let target = tree.join(&file.target);
        let parent = target.parent().unwrap_or(tree);
        fs::create_dir_all(parent).map_err(DiskError::Create)?;
        if fs::hard_link(&file.source, &target).is_ok() {
            continue;
        }
        // On another file system, or somebody else's.
        let copied = Command::new("cp")
            .args(["--sparse=always", "--"])
            .args([&file.source, &target])
            .output()
            .map_err(DiskError::Create)?;
        if !copied.status.success() {
            let text = String::from_utf8_lossy(&copied.stderr);
            return Err(DiskError::Copy(text.trim().to_owned()));
        }
    }
    Ok(())
}
