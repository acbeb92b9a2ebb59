//! The emulated host's data disk: a sparse raw file with an ext4 file system.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

/// Why there is no data disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file cannot be made.
    #[error("cannot create the data disk")]
    Create(#[source] io::Error),
    /// `mke2fs` is not there.
    #[error("cannot run mke2fs (package e2fsprogs)")]
    Run(#[source] io::Error),
    /// `mke2fs` failed.
    #[error("mke2fs failed: {0}")]
    Format(String),
}

/// Makes a formatted disk at `path`; it appears under its name only when it is complete.
pub(crate) fn create(path: &Path, size_gib: u32) -> Result<(), DiskError> {
    let unfinished = path.with_extension("unfinished");
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
        // What is lazy here would be written by the emulated processor later.
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0,discard"])
        // Few inodes: the tables are written at once, and Hearth keeps few and large files.
        .args(["-i", "65536"])
        .arg(&unfinished)
        .output()
        .map_err(DiskError::Run)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(DiskError::Format(text.trim().to_owned()));
    }
    fs::rename(&unfinished, path).map_err(DiskError::Create)
}
