//! The builder microVM: a Dockerfile in, a layer disk and a configuration out.
//!
//! ```text
//! boot ──> context (mount, unpack) ──> build (buildah) ──> pack (erofs) ──> export (stream to a file)
//!   └────────────── whatever happens, the microVM is ended: by result, time, error or drop ──┘
//! ```
//!
//! Nothing but what the Dockerfile added leaves the microVM: the layers of its base are on the store disk already. All layers of one
//! build lie side by side on one EROFS disk, which is as large as what is in it.
//!
//! The work disk is thrown away with the microVM. A cache of layers for each account would be a disk in its place that
//! survives: `buildah bud --layers` then finds its earlier layers in the store on it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_base::cpio::CpioWriter;
use hearth_net::Egress;
use hearth_node::{BootRequest, DiskRequest, Machine, MachineName, Node, NodeError};
use tokio::sync::mpsc;

use crate::artifact::Artifact;
use crate::bases::Bases;
use crate::config::ConfigError;
use crate::failure::Failure;
use crate::guest::{Guest, GuestError};
use crate::registries::Registries;
use crate::root::Root;
use crate::store::StoreError;

mod steps;

use steps::Build;

/// Builds images on this host.
#[derive(Debug, Clone)]
pub struct Builder {
    /// Runs the builder microVMs.
    pub node: Node,
    /// What they are made of.
    pub bases: Bases,
    /// Guest kernel.
    pub kernel: PathBuf,
    /// What [`write_initramfs`] wrote.
    pub initramfs: PathBuf,
    /// Additions to the kernel's command line.
    pub command_line: String,
    /// Names that `FROM` and `COPY --from` may use for a base image, for example
    /// `public.ecr.aws/lambda/microvms:al2023-minimal` for `hearth/python:3.11`. Stages of a Dockerfile come first.
    pub aliases: BTreeMap<String, String>,
    /// Where other images come from, if a build's egress leads there.
    pub registries: Registries,
}

/// One build.
#[derive(Debug)]
pub struct BuildRequest {
    /// Name of the builder microVM.
    pub machine: MachineName,
    /// What is built.
    pub artifact: Artifact,
    /// Where the disk with the image's own layers appears, by rename, when it has any.
    pub layer: PathBuf,
    /// What the Dockerfile's commands may reach.
    pub egress: Egress,
    /// How much it may take.
    pub limits: BuildLimits,
    /// Receives the builder's output line by line. A receiver that is slow slows the build; one that is gone
    /// does not stop it.
    pub log: mpsc::Sender<String>,
}

/// What a build may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildLimits {
    /// From boot to result.
    pub time: Duration,
    /// RAM of the builder microVM, in MiB. Below 512 buildah itself runs short.
    pub memory_mib: u32,
    /// Its vCPUs.
    pub vcpus: u8,
    /// Size of the layer disk, in bytes.
    pub layer_bytes: u64,
    /// Output that is passed on, in bytes; what follows is left out and that is said.
    pub log_bytes: u64,
}

impl Default for BuildLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(15 * 60),
            memory_mib: 2048,
            vcpus: 1,
            layer_bytes: 4 << 30,
            log_bytes: 16 << 20,
        }
    }
}

/// A built image.
#[derive(Debug, Clone)]
pub struct Built {
    /// What a machine needs to run it.
    pub root: Root,
    /// Where the time went.
    pub times: BuildTimes,
}

/// Time of each phase of a build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildTimes {
    /// Until the builder's agent answered.
    pub boot: Duration,
    /// Mounting, and unpacking the artifact.
    pub context: Duration,
    /// buildah.
    pub build: Duration,
    /// Writing the layer disk.
    pub pack: Duration,
    /// Streaming it to the host.
    pub export: Duration,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile does not build.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It took too long.
    #[error("the build took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It added too much.
    #[error("the image adds {bytes} bytes to its base, more than {limit}")]
    LayerTooLarge {
        /// Size of the layer disk.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// There is no file in it.
    #[error("the image is empty")]
    Empty,
    /// The image's configuration is not acceptable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store that buildah left is not acceptable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step around the build failed; an [`GuestError::Artifact`] is the user's, all else is not.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The builder microVM does not start, or does not end.
    #[error("the builder microVM failed")]
    Machine(#[from] NodeError),
    /// The layer disk cannot be written.
    #[error("cannot write the layer disk {path}")]
    Layer {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Writes the initramfs of builder microVMs to `target`: that of a guest, and a static busybox. The kernel unpacks
/// archives that stand one behind the other.
pub fn write_initramfs(guest: &Path, busybox: &Path, target: &Path) -> io::Result<()> {
    let mut bytes = fs::read(guest)?;
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    let mut archive = CpioWriter::new(bytes);
    archive.directory("bin", 0o755)?;
    archive.file("bin/busybox", 0o755, &fs::read(busybox)?)?;
    // Machines may be booting from it.
    let unfinished = target.with_extension("unfinished");
    fs::write(&unfinished, archive.finish()?)?;
    fs::rename(unfinished, target)
}

impl Builder {
    /// Builds an image. Nothing is left running when this has answered; when it is dropped before, a task of the
    /// runtime ends the microVM.
    pub async fn build(&self, request: BuildRequest) -> Result<Built, BuildError> {
        let start = Instant::now();
        let limit = request.limits.time;
        let running = self.boot(&request).await?;
        let boot = start.elapsed();
        let build = Build {
            guest: Guest(running.machine()?.agent()),
            bases: &self.bases,
            aliases: &self.aliases,
            registries: &self.registries,
            has_network: has_network(running.machine()?),
            layer: &request.layer,
            limits: &request.limits,
            times: BuildTimes {
                boot,
                ..BuildTimes::default()
            },
        };
        let outcome = tokio::time::timeout(
            limit.saturating_sub(boot),
            build.run(request.artifact, &request.log),
        )
        .await
        .unwrap_or(Err(BuildError::TimedOut(limit)));
        let ended = running.end().await;
        let built = outcome?;
        ended?;
        Ok(built)
    }

    async fn boot(&self, request: &BuildRequest) -> Result<Running, BuildError> {
        let disk = |serial: &str, image: PathBuf, is_writable| DiskRequest {
            serial: serial.to_owned(),
            image,
            is_writable,
        };
        let boot = BootRequest {
            kernel: self.kernel.clone(),
            initramfs: self.initramfs.clone(),
            command_line: self.command_line.clone(),
            vcpus: request.limits.vcpus,
            memory_mib: request.limits.memory_mib,
            disks: vec![
                disk("builder", self.bases.builder(), false),
                disk("store", self.bases.store(), false),
                disk("work", self.bases.scratch(), true),
            ],
            egress: request.egress.clone(),
        };
        let launched = self.node.boot(&request.machine, boot).await?;
        Ok(Running(Some(launched.machine)))
    }
}

/// Whether any way leads out of the builder.
fn has_network(machine: &Machine) -> bool {
    let network = machine.record().network.as_ref();
    network.is_some_and(|network| network.egress != Egress::closed())
}

/// The builder microVM as long as it is needed.
struct Running(Option<Machine>);

impl Running {
    fn machine(&self) -> Result<&Machine, NodeError> {
        let gone = || NodeError::UnknownMachine("builder".to_owned());
        self.0.as_ref().ok_or_else(gone)
    }

    async fn end(mut self) -> Result<(), NodeError> {
        match self.0.take() {
            Some(machine) => machine.terminate().await,
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(machine) = self.0.take() else { return };
        // A runtime that is shutting down runs no task any more; then the machine is found at the next start.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = machine.terminate().await {
                    tracing::warn!("cannot remove a builder microVM: {error}");
                }
            });
        }
    }
}
