//! Base versions: a kernel and the initramfs that belongs to it, ready to boot.
//!
//! ```text
//! <data>/base/<kernel package version>-<agent digest>/base.json
//!                                                     vmlinux          hard link into the kernel cache
//!                                                     initramfs.cpio
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::initramfs::{InitramfsError, InitramfsSpec};
use crate::kernel::{Kernel, KernelError, KernelSource};
use crate::modules::{GUEST_MODULES, ON_DEMAND_MODULES};
use crate::{Progress, atomic};

/// The parts of a base version.
pub struct BuildOptions<'a> {
    /// Hearth's data directory.
    pub data_dir: PathBuf,
    /// The static agent.
    pub agent: PathBuf,
    /// Version that the agent was built with.
    pub agent_version: String,
    /// The source of the kernel.
    pub kernel: KernelSource,
    /// Is called with each step.
    pub progress: Progress<'a>,
}

/// Why a base version could not be built or listed.
#[derive(Debug, thiserror::Error)]
pub enum BaseBuildError {
    /// The kernel could not be prepared.
    #[error("cannot prepare the guest kernel")]
    Kernel(#[from] KernelError),
    /// The agent cannot be read.
    #[error("cannot read the agent at {path}")]
    Agent {
        /// Path of the agent.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The initramfs cannot be written.
    #[error("cannot build the initramfs")]
    Initramfs(#[from] InitramfsError),
    /// The base directory cannot be read or written.
    #[error("cannot use the base directory")]
    Directory(#[from] io::Error),
    /// `base.json` does not parse.
    #[error("a base version's base.json is damaged")]
    Index(#[from] serde_json::Error),
}

/// One built base version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseVersion {
    /// Name of the version and of its directory.
    pub id: String,
    /// The distribution's package.
    pub kernel_package: String,
    /// Version of that package. The distribution's advisories name it.
    pub kernel_package_version: String,
    /// `uname -r` in the guest.
    pub kernel_release: String,
    /// Version of the agent.
    pub agent_version: String,
    /// BLAKE3 of the agent, in hexadecimal.
    pub agent_digest: String,
    /// When it was built, RFC 3339.
    pub built_at: String,
    #[serde(skip)]
    directory: PathBuf,
}

impl BaseVersion {
    /// The uncompressed kernel.
    pub fn vmlinux(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The initramfs.
    pub fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs.cpio")
    }
}

/// Builds the base version of this kernel and agent. Returns the existing one if there is one.
pub fn build(options: &BuildOptions<'_>) -> Result<BaseVersion, BaseBuildError> {
    let kernel = Kernel::obtain(&options.data_dir, &options.kernel, options.progress)?;
    let agent = fs::read(&options.agent).map_err(|source| BaseBuildError::Agent {
        path: options.agent.clone(),
        source,
    })?;
    let agent_digest = blake3::hash(&agent).to_hex().to_string();
    let id = format!("{}-{}", kernel.package_version(), &agent_digest[..12]);
    let target = options.data_dir.join("base").join(&id);
    if let Some(version) = open(&target)? {
        return Ok(version);
    }
    (options.progress)("writing the guest's initramfs");
    let version = BaseVersion {
        id,
        kernel_package: kernel.package().to_owned(),
        kernel_package_version: kernel.package_version().to_owned(),
        kernel_release: kernel.release().to_owned(),
        agent_version: options.agent_version.clone(),
        agent_digest,
        built_at: jiff::Timestamp::now().to_string(),
        directory: target.clone(),
    };
    let initramfs = InitramfsSpec {
        init: options.agent.clone(),
        modules: GUEST_MODULES
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        on_demand: ON_DEMAND_MODULES
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        files: vec![],
    };
    atomic::directory::<BaseBuildError>(&target, |directory| {
        link_or_copy(&kernel.vmlinux(), &directory.join("vmlinux"))?;
        initramfs.write(&kernel, &directory.join("initramfs.cpio"))?;
        fs::write(
            directory.join("base.json"),
            serde_json::to_vec_pretty(&version)?,
        )?;
        Ok(())
    })?;
    Ok(version)
}

/// The base versions below `data_dir`, oldest first.
pub fn list(data_dir: &Path) -> Result<Vec<BaseVersion>, BaseBuildError> {
    let entries = match fs::read_dir(data_dir.join("base")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error.into()),
    };
    let mut versions = Vec::new();
    for entry in entries {
        versions.extend(open(&entry?.path())?);
    }
    versions.sort_by(|a, b| a.built_at.cmp(&b.built_at));
    Ok(versions)
}

fn open(directory: &Path) -> Result<Option<BaseVersion>, BaseBuildError> {
    match fs::read(directory.join("base.json")) {
        Ok(text) => Ok(Some(BaseVersion {
            directory: directory.to_owned(),
            ..serde_json::from_slice(&text)?
        })),
        // Unfinished directories and unrelated ones have no `base.json`.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn link_or_copy(source: &Path, target: &Path) -> io::Result<()> {
    fs::hard_link(source, target).or_else(|_| fs::copy(source, target).map(|_| ()))
}

#[cfg(test)]
mod tests;
