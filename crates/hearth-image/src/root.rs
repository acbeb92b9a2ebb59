//! The result of a build: the disks and settings that an instance of the image needs.

use std::path::{Path, PathBuf};

use hearth_node::DiskRequest;
use hearth_wire::agent::{LowerDirectory, RootSpec, StartSpec};
use serde::{Deserialize, Serialize};

use crate::config::ContainerConfig;

/// Serial of the writable disk of a machine that runs an image.
pub const UPPER: &str = "upper";

/// Serial of the store disk.
pub(crate) const STORE_SERIAL: &str = "store";

/// Serial of the disk with the image's own layers.
pub(crate) const LAYER_SERIAL: &str = "layer";

/// Default `PATH` if the image sets none, as in Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Limit of open files of an application, as on AWS.
const OPEN_FILES: u32 = 1024;

/// Docker's default for `/dev/shm`, in MiB.
const SHM_MIB: u32 = 64;

/// The root file system of an image and how its container is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The read-only disks, shared by all instances.
    pub disks: Vec<RootDisk>,
    /// The layer directories on these disks, top first.
    pub lower: Vec<LowerDirectory>,
    /// The image's configuration of its container.
    pub config: ContainerConfig,
}

/// A read-only disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootDisk {
    /// The serial number that the guest reads.
    pub serial: String,
    /// Path of its raw image.
    pub image: PathBuf,
}

impl Root {
    /// The disks of a machine that runs this image: the read-only ones, and a writable one ([`UPPER`]) that starts as
    /// the empty file system in `scratch`.
    pub fn disk_requests(&self, scratch: &Path) -> Vec<DiskRequest> {
        let read_only = self.disks.iter().map(|disk| DiskRequest {
            serial: disk.serial.clone(),
            image: disk.image.clone(),
            overlays: Vec::new(),
            is_writable: false,
        });
        let upper = DiskRequest {
            serial: UPPER.to_owned(),
            image: scratch.to_owned(),
            overlays: Vec::new(),
            is_writable: true,
        };
        read_only.chain([upper]).collect()
    }

    /// The request with which the agent starts the application: with the image's configuration and Docker's default
    /// capabilities. The caller may change it. `argv` is empty if the image has no command.
    pub fn start_spec(&self, hostname: String) -> StartSpec {
        let mut env = self.config.env.clone();
        env.entry("PATH".to_owned())
            .or_insert_with(|| DEFAULT_PATH.to_owned());
        StartSpec {
            root: RootSpec::Disks {
                lower: self.lower.clone(),
                upper: Some(UPPER.to_owned()),
            },
            argv: self.config.argv(),
            env,
            cwd: self.config.working_dir.clone(),
            user: self.config.user.clone(),
            hostname,
            all_capabilities: false,
            open_files: OPEN_FILES,
            shm_mib: SHM_MIB,
            stop_signal: self.config.stop_signal,
        }
    }
}

/// A layer's directory on a disk.
pub(crate) fn lower(serial: &str, directory: String) -> LowerDirectory {
    LowerDirectory {
        serial: serial.to_owned(),
        directory,
    }
}
