//! Initramfs images: an init, kernel modules in load order, and extra files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crate::cpio::CpioWriter;
use crate::kernel::{Kernel, KernelError};

/// Directories that an init mounts over or writes to.
const DIRECTORIES: &[&str] = &["dev", "etc", "modules", "proc", "root", "run", "sys", "tmp"];

/// The content of an initramfs.
///
/// In the archive: `/init`, `/modules/<name>.ko` (decompressed), `/modules/order` (their file names in load
/// order, one a line), the extra files with their parent directories, and empty mount points.
#[derive(Debug, Clone)]
pub struct InitramfsSpec {
    /// The program that becomes `/init`; static, or its libraries are among `files`.
    pub init: PathBuf,
    /// Modules to load. Their dependencies are added.
    pub modules: Vec<String>,
    /// Further files.
    pub files: Vec<ExtraFile>,
}

/// One more file of an initramfs.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Path in the archive, with or without leading `/`.
    pub path: String,
    /// Permission bits.
    pub permissions: u32,
    /// The content.
    pub content: FileContent,
}

/// Where the content of an [`ExtraFile`] comes from.
#[derive(Debug, Clone)]
pub enum FileContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The file of the host at this path.
    CopyOf(PathBuf),
}

/// Why an initramfs could not be written.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file of the initramfs cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file of the host.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel's modules cannot be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The archive cannot be written.
    #[error("cannot write the initramfs")]
    Write(#[source] io::Error),
}

impl InitramfsSpec {
    /// Writes the archive to `target` (uncompressed: unpacking is then a copy, which matters under
    /// emulation). The caller renames it into place when it must appear whole.
    pub fn write(&self, kernel: &Kernel, target: &Path) -> Result<(), InitramfsError> {
        let wanted: Vec<&str> = self.modules.iter().map(String::as_str).collect();
        let modules = kernel.load_order(&wanted)?;
        let file = File::create(target).map_err(InitramfsError::Write)?;
        let mut archive = CpioWriter::new(BufWriter::new(file));
        self.write_skeleton(&mut archive)
            .map_err(InitramfsError::Write)?;

        let mut order = String::new();
        for name in &modules {
            let file_name = format!("{name}.ko");
            let content = read(&kernel.module(name))?;
            archive
                .file(&format!("modules/{file_name}"), 0o644, &content)
                .map_err(InitramfsError::Write)?;
            order.push_str(&file_name);
            order.push('\n');
        }
        archive
            .file("modules/order", 0o644, order.as_bytes())
            .map_err(InitramfsError::Write)?;
        archive
            .file("init", 0o755, &read(&self.init)?)
            .map_err(InitramfsError::Write)?;
        self.write_files(&mut archive)?;

        let buffered = archive.finish().map_err(InitramfsError::Write)?;
        let file = buffered
            .into_inner()
            .map_err(|error| InitramfsError::Write(error.into_error()))?;
        file.sync_all().map_err(InitramfsError::Write)
    }

    fn write_skeleton<W: io::Write>(&self, archive: &mut CpioWriter<W>) -> io::Result<()> {
        let mut directories: BTreeSet<String> =
            DIRECTORIES.iter().map(|path| (*path).to_owned()).collect();
        for file in &self.files {
            directories.extend(parents(&file.path));
        }
        // The set is sorted, so parents come before their children.
        for path in directories {
            let permissions = if path == "tmp" { 0o1777 } else { 0o755 };
            archive.directory(&path, permissions)?;
        }
        // The kernel opens it for init before anything is mounted.
        archive.character_device("dev/console", 0o600, 5, 1)
    }

    fn write_files<W: io::Write>(&self, archive: &mut CpioWriter<W>) -> Result<(), InitramfsError> {
        for file in &self.files {
            let copied;
            let content = match &file.content {
                FileContent::Bytes(bytes) => bytes,
                FileContent::CopyOf(path) => {
                    copied = read(path)?;
                    &copied
                }
            };
            archive
                .file(&file.path, file.permissions, content)
                .map_err(InitramfsError::Write)?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, InitramfsError> {
    fs::read(path).map_err(|source| InitramfsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The directories above `path`, without leading `/`.
fn parents(path: &str) -> impl Iterator<Item = String> {
    let path = path.trim_start_matches('/');
    path.match_indices('/')
        .map(move |(end, _)| path[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_listed_outermost_first() {
        let found: Vec<_> = parents("/etc/hearth/host.json").collect();
        assert_eq!(found, ["etc", "etc/hearth"]);
        assert_eq!(parents("init").count(), 0);
    }
}
