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
/// order, one a line), `/modules/on-demand` with the modules that are loaded when something asks for them, the extra files with
/// their parent directories, and empty mount points.
#[derive(Debug, Clone)]
pub struct InitramfsSpec {
    /// The program that becomes `/init`; static, or its libraries are among `files`.
    pub init: PathBuf,
    /// Modules to load. Their dependencies are added.
    pub modules: Vec<String>,
    /// Modules to load when something asks for them. What they need is added.
    pub on_demand: Vec<String>,
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
        self.write_on_demand(kernel, &modules, &mut archive)?;
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

    /// Writes the modules that are loaded on demand, and the list of them: a line each, with the names under which it is asked for, a
    /// tab, and the files in the order in which they are loaded.
    fn write_on_demand<W: io::Write>(
        &self,
        kernel: &Kernel,
        loaded: &[String],
        archive: &mut CpioWriter<W>,
    ) -> Result<(), InitramfsError> {
        let mut list = String::new();
        let mut written = BTreeSet::new();
        let wanted: Vec<&str> = self.on_demand.iter().map(String::as_str).collect();
        // What they need may be asked for by itself, too.
        for name in &kernel.load_order(&wanted)? {
            let Some(module) = kernel.on_demand(name) else {
                continue;
            };
            let needs = kernel.load_order(&[name.as_str()])?;
            let files = needs.iter().filter(|need| !loaded.contains(need));
            let files: Vec<_> = files.filter_map(|need| kernel.on_demand(need)).collect();
            for file in &files {
                if written.insert(&file.file) {
                    let content = read(&kernel.packed(file))?;
                    archive
                        .file(&format!("modules/{}", file.file), 0o644, &content)
                        .map_err(InitramfsError::Write)?;
                }
            }
            let names = [std::slice::from_ref(name), &module.aliases].concat();
            let files: Vec<_> = files.iter().map(|file| file.file.as_str()).collect();
            list.push_str(&format!("{}\t{}\n", names.join(" "), files.join(" ")));
        }
        archive
            .file("modules/on-demand", 0o644, list.as_bytes())
            .map_err(InitramfsError::Write)
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
