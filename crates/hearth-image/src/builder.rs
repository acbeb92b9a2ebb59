//! The builder microVM: a Dockerfile in, a layer disk and a configuration out.
//!
//! ```text
//! boot ──> context (mount, unpack) ──> build (buildah) ──> pack (erofs) ──> export (stream to a file)
//!   └────────────── whatever happens, the microVM is ended: by result, time, error or drop ──┘
//! ```
//!
//! Only the layers that the Dockerfile added leave the microVM: the layers of its base are on the store disk already.
//! All layers of one build are on one EROFS disk, which is as large as its content.
//!
//! The work disk is removed with the microVM. The store with the layers may be on a disk that is kept (`cache.rs`):
//! `buildah bud --layers` then finds layers of earlier builds.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_base::cpio::CpioWriter;
use hearth_net::Egress;
use hearth_node::{BootRequest, DiskRequest, Machine, MachineName, Node, NodeError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::artifact::Artifact;
use crate::bases::Bases;
use crate::cache::{Kept, Lease};
use crate::config::ConfigError;
use crate::dockerfile::{Dockerfile, Refusal};
use crate::failure::Failure;
use crate::guest::{Guest, GuestError};
use crate::registries::{Registries, RegistryProxy};
use crate::reuse::Digest;
use crate::root::Root;
use crate::store::BuildahStoreError;

mod steps;

use steps::{Build, Made};

/// Serial of the disk with the layers of earlier builds, as in `guest.sh`.
const CACHE_SERIAL: &str = "cache";

/// Exit code of buildah for failures of its own.
const BUILDAHS_OWN: i32 = 125;

/// Builds images on this host.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The node that runs builder microVMs.
    pub node: Node,
    /// The bases with the builder's disks.
    pub bases: Bases,
    /// Guest kernel.
    pub kernel: PathBuf,
    /// The initramfs that [`write_initramfs`] wrote.
    pub initramfs: PathBuf,
    /// Additions to the kernel's command line.
    pub command_line: String,
    /// Whether builder microVMs start from a template of the booted guest.
    pub has_boot_templates: bool,
    /// Names that `FROM` and `COPY --from` may use for a base image, for example
    /// `public.ecr.aws/lambda/microvms:al2023-minimal` for `hearth/python:3.11`. Stages of a Dockerfile come first.
    pub aliases: BTreeMap<String, String>,
    /// Registries of all other images, which a build can pull from if its egress allows it. For registries with a login
    /// see [`BuildRequest::registry_proxy`].
    pub registries: Registries,
}

/// The parameters of one build.
#[derive(Debug)]
pub struct BuildRequest {
    /// Name of the builder microVM.
    pub machine: MachineName,
    /// The artifact with the Dockerfile.
    pub artifact: Artifact,
    /// Path of the disk with the image's own layers. It appears by rename, if there are any.
    pub layer: PathBuf,
    /// Egress of the Dockerfile's commands.
    pub egress: Egress,
    /// Proxy to the registries for which the account of this build has logins; `None` if there are none.
    pub registry_proxy: Option<Arc<dyn RegistryProxy>>,
    /// Limits of the build.
    pub limits: BuildLimits,
    /// Layers of earlier builds of the same account, of [`Builder::bases`]; those of this one are added.
    pub cache: Option<Lease>,
    /// Receives the builder's output line by line. A slow receiver slows the build; a dropped receiver does not stop
    /// it.
    pub log: mpsc::Sender<String>,
}

/// Limits of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildLimits {
    /// Time from boot to result.
    pub time: Duration,
    /// RAM of the builder microVM, in MiB. Below 512 buildah itself runs short.
    pub memory_mib: u32,
    /// Its vCPUs.
    pub vcpus: u8,
    /// Size of the layer disk, in bytes.
    pub layer_bytes: u64,
    /// Most bytes of output that are passed on. The rest is dropped, and a line says so.
    pub log_bytes: u64,
}

impl Default for BuildLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(15 * 60),
            memory_mib: 2048,
            vcpus: 1,
            // AWS: 7.2 GB can be used.
            layer_bytes: 8 << 30,
            log_bytes: 16 << 20,
        }
    }
}

/// A built image.
#[derive(Debug, Clone)]
pub struct BuiltRoot {
    /// The disks and settings with which a machine runs it.
    pub root: Root,
    /// Times of the phases; `None` if the result of an earlier build of the same account was used.
    pub times: Option<BuildTimes>,
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

impl fmt::Display for BuildTimes {
    /// `boot 1.2 s, context 0.1 s, build 3.4 s, pack 0.2 s, export 0.1 s`: `cargo xtask bench image` reads it in
    /// build logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        write!(
            f,
            "boot {}, context {}, build {}, pack {}, export {}",
            seconds(self.boot),
            seconds(self.context),
            seconds(self.build),
            seconds(self.pack),
            seconds(self.export)
        )
    }
}

/// Why a build gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile could not be built.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The build took too long.
    #[error("the build took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It added too much.
    #[error("the image adds {} MiB to its base, more than {} MiB (images.layers_mib)", bytes >> 20, limit >> 20)]
    LayerTooLarge {
        /// Size of the layer disk.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The image contains no file.
    #[error("the image is empty")]
    Empty,
    /// The image's configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store that buildah left is not valid.
    #[error(transparent)]
    Store(#[from] BuildahStoreError),
    /// A step around the build failed. [`GuestError::Artifact`] is caused by the customer, all others are not.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The builder microVM could not be started or ended.
    #[error("the builder microVM failed")]
    Machine(#[from] NodeError),
    /// The listener for the builder's requests to registries with a login could not be made.
    #[error("cannot listen for the builder microVM's requests to registries")]
    Listen(#[source] io::Error),
    /// The layer disk could not be written.
    #[error("cannot write the layer disk {path}")]
    Layer {
        /// The file.
        path: PathBuf,
        /// The cause.
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
    let bytes = archive.finish()?;
    if fs::read(target).is_ok_and(|found| found == bytes) {
        // Also where a full disk would not take another one.
        return Ok(());
    }
    // Machines may be booting from it.
    let unfinished = target.with_extension("unfinished");
    fs::write(&unfinished, bytes)?;
    fs::rename(unfinished, target)
}

impl Builder {
    /// Builds an image. When this returns, the builder microVM has ended. If the future is dropped, a task of the
    /// runtime ends the microVM.
    pub async fn build(&self, mut request: BuildRequest) -> Result<BuiltRoot, BuildError> {
        let start = Instant::now();
        let mut cache = request.cache.take();
        let artifact = Arc::new(request.artifact);
        let dockerfile = read_dockerfile(&artifact).await?;
        let digest = match &cache {
            Some(_) => self.digest(&artifact, &request.egress).await?,
            None => None,
        };
        if let (Some(cache), Some(digest)) = (&cache, &digest)
            && let Some(root) = cache.find(digest, &self.bases, &request.layer)
        {
            let said = "hearth: nothing has changed since an earlier build: its layers are used"
                .to_owned();
            let _ = request.log.send(said).await;
            return Ok(BuiltRoot { root, times: None });
        }
        let task = Task {
            builder: self,
            machine: &request.machine,
            artifact: &artifact,
            dockerfile: &dockerfile,
            digest: digest.as_ref(),
            layer: &request.layer,
            egress: &request.egress,
            registry_proxy: request.registry_proxy.as_ref(),
            limits: &request.limits,
            log: &request.log,
        };
        let limit = request.limits.time;
        let had_layers = cache.as_ref().is_some_and(Lease::has_layers);
        // Reading the artifact for its digest is part of the build's time.
        let left = limit.saturating_sub(start.elapsed());
        let outcome = task.attempt(&mut cache, left).await;
        match outcome {
            // Whatever lies in a cache, a Dockerfile that builds without it is built.
            Err(error) if had_layers && is_suspicious(&error) => {
                let cause = format!("hearth: {error}; building once more, without earlier layers");
                let _ = request.log.send(cause).await;
                let left = limit.saturating_sub(start.elapsed());
                let mut empty = cache.and_then(Lease::discard);
                task.attempt(&mut empty, left).await
            }
            Err(error @ BuildError::TimedOut(_)) => {
                cache.map(Lease::discard);
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// Digest of everything that the build reads; `None` if that is not known.
    async fn digest(
        &self,
        artifact: &Arc<Artifact>,
        egress: &Egress,
    ) -> Result<Option<Digest>, BuildError> {
        let (artifact, aliases) = (Arc::clone(artifact), self.aliases.clone());
        let egress = egress.clone();
        let reading =
            tokio::task::spawn_blocking(move || Digest::of(&artifact, &aliases, &egress)).await;
        match reading {
            Ok(digest) => Ok(digest.map_err(GuestError::from)?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// The Dockerfile in buildah's words. Nothing is started for one that is refused.
async fn read_dockerfile(artifact: &Arc<Artifact>) -> Result<Dockerfile, BuildError> {
    let artifact = Arc::clone(artifact);
    let reading = tokio::task::spawn_blocking(move || artifact.dockerfile()).await;
    let text = match reading {
        Ok(text) => text.map_err(GuestError::from)?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let no_text = || Refusal {
        line: 1,
        reason: "it is no UTF-8 text, or longer than 1 MiB".to_owned(),
    };
    let text = text.ok_or_else(no_text).map_err(Failure::from)?;
    Ok(Dockerfile::read(&text).map_err(Failure::from)?)
}

/// Whether layers of an earlier build can be why this one failed: there was too little room beside them, or what
/// buildah found made no sense to it, or to us.
fn is_suspicious(error: &BuildError) -> bool {
    match error {
        BuildError::Failed(failure) => match failure {
            Failure::DiskFull { .. } | Failure::Killed { .. } => true,
            Failure::Dockerfile { exit_code, .. } => {
                *exit_code == BUILDAHS_OWN && !failure.is_of_dockerfile()
            }
            _ => false,
        },
        // A damaged disk does not even open.
        BuildError::Machine(_)
        | BuildError::Guest(GuestError::Step { .. } | GuestError::TooLong { .. })
        | BuildError::Store(_)
        | BuildError::Config(_) => true,
        _ => false,
    }
}

/// Whether the layers of a build may be reused. The layers before a failed instruction are valid, too.
fn has_good_layers(built: &Result<Made, BuildError>) -> bool {
    match built {
        Ok(_) => true,
        Err(error) => matches!(error, BuildError::Failed(_)) && !is_suspicious(error),
    }
}

/// The parameters of one attempt.
struct Task<'a> {
    builder: &'a Builder,
    machine: &'a MachineName,
    artifact: &'a Arc<Artifact>,
    dockerfile: &'a Dockerfile,
    /// What the result is kept under.
    digest: Option<&'a Digest>,
    layer: &'a Path,
    egress: &'a Egress,
    registry_proxy: Option<&'a Arc<dyn RegistryProxy>>,
    limits: &'a BuildLimits,
    log: &'a mpsc::Sender<String>,
}

impl Task<'_> {
    /// Builds once, with that cache. The cache is updated if layers were added.
    async fn attempt(
        &self,
        cache: &mut Option<Lease>,
        limit: Duration,
    ) -> Result<BuiltRoot, BuildError> {
        let start = Instant::now();
        let running = self.boot(cache.as_ref()).await?;
        let boot = start.elapsed();
        let guest = Guest(running.machine()?.agent());
        let has_network = has_network(running.machine()?);
        // The proxy asks for the guest, so it is closed where the guest's own network is.
        let registry_proxy = self.registry_proxy.filter(|_| has_network);
        // Dropped at the end of the attempt, and what runs in it.
        let mut serving = JoinSet::new();
        if let Some(proxy) = registry_proxy {
            let listener = running.machine()?.listen_for_services();
            let listener = listener.map_err(BuildError::Listen)?;
            serving.spawn(Arc::clone(proxy).serve(listener));
        }
        let build = Build {
            guest: guest.clone(),
            dockerfile: self.dockerfile,
            bases: &self.builder.bases,
            aliases: &self.builder.aliases,
            registries: &self.builder.registries,
            proxied: registry_proxy
                .map(|proxy| proxy.registries())
                .unwrap_or_default(),
            has_network,
            has_cache: cache.is_some(),
            layer: self.layer,
            limits: self.limits,
            times: BuildTimes {
                boot,
                ..BuildTimes::default()
            },
        };
        let work = async {
            let built = build.run(Arc::clone(self.artifact), self.log).await;
            let has_added = match cache.is_some() && has_good_layers(&built) {
                true => guest.settle_cache().await,
                false => Ok(false),
            };
            (built, has_added)
        };
        let worked = tokio::time::timeout(limit.saturating_sub(boot), work).await;
        let timed_out = |_| (Err(BuildError::TimedOut(self.limits.time)), Ok(false));
        let (built, has_added) = worked.unwrap_or_else(timed_out);
        let has_added = has_added.unwrap_or_else(|error| {
            tracing::warn!(%error, machine = %self.machine, "the layers of a build are not kept");
            false
        });
        if let (Some(cache), Some(digest), Ok(made)) = (&*cache, self.digest, &built)
            && !made.has_pulled
            && let Err(error) = cache.remember(digest, &made.root)
        {
            tracing::warn!(%error, machine = %self.machine, "the result of a build is not kept");
        }
        match cache.take_if(|_| has_added) {
            Some(cache) => self.keep(running, cache).await?,
            None => running.end().await?,
        }
        built.map(|made| BuiltRoot {
            root: made.root,
            times: Some(made.times),
        })
    }

    /// Ends the microVM and adds its layers to the cache. A failure to update the cache is only logged.
    async fn keep(&self, running: Running, cache: Lease) -> Result<(), NodeError> {
        let pending = cache.pending(&self.machine.to_string());
        running.end_keeping(CACHE_SERIAL, &pending).await?;
        match cache.keep(&pending) {
            Ok(Kept::Added | Kept::Overtaken) => {}
            Ok(Kept::TooLarge { bytes }) => {
                let said = format!(
                    "hearth: layers of this account would take {} MiB, which is more than images.layer_cache_mib; \
                     the cache starts anew",
                    bytes >> 20
                );
                let _ = self.log.send(said).await;
            }
            Err(error) => {
                tracing::warn!(%error, machine = %self.machine, "the layers of a build are not kept");
            }
        }
        Ok(())
    }

    async fn boot(&self, cache: Option<&Lease>) -> Result<Running, BuildError> {
        let disk = |serial: &str, image: PathBuf, is_writable| DiskRequest {
            serial: serial.to_owned(),
            image,
            overlays: Vec::new(),
            is_writable,
        };
        let bases = &self.builder.bases;
        let mut disks = vec![
            disk("builder", bases.builder(), false),
            disk("store", bases.store(), false),
            disk("work", bases.work(), true),
        ];
        disks.extend(cache.map(|cache| DiskRequest {
            overlays: cache.overlays(),
            ..disk(CACHE_SERIAL, bases.work(), true)
        }));
        let boot = BootRequest {
            kernel: self.builder.kernel.clone(),
            initramfs: self.builder.initramfs.clone(),
            command_line: self.builder.command_line.clone(),
            vcpus: self.limits.vcpus,
            memory_mib: self.limits.memory_mib,
            disks,
            egress: self.egress.clone(),
        };
        let builder = self.builder;
        let launched = bases
            .boot(
                &builder.node,
                self.machine,
                boot,
                builder.has_boot_templates,
            )
            .await?;
        Ok(Running(Some(launched.machine)))
    }
}

/// Whether the builder has a network.
fn has_network(machine: &Machine) -> bool {
    let network = machine.record().network.as_ref();
    network.is_some_and(|network| network.egress != Egress::closed())
}

/// The running builder microVM. It is ended on drop.
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

    async fn end_keeping(mut self, serial: &str, kept: &Path) -> Result<(), NodeError> {
        match self.0.take() {
            Some(machine) => machine.terminate_keeping(serial, kept).await,
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
