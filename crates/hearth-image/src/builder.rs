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

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_base::cpio::CpioWriter;
use hearth_node::{BootRequest, DiskRequest, Machine, MachineName, Node, NodeError};
use tokio::sync::mpsc;

use crate::artifact::Artifact;
use crate::bases::Bases;
use crate::config::{self, ConfigError, ContainerConfig};
use crate::failure::{Failure, LastLines};
use crate::guest::{Guest, GuestError};
use crate::root::{self, LAYER_SERIAL, Root, RootDisk, STORE_SERIAL};
use crate::sparse::SparseWriter;
use crate::store::{self, Id, Layers, StoreError};

/// Options of `buildah bud`. Docker's format knows HEALTHCHECK, SHELL and ONBUILD. Without a cache of layers, a commit
/// after every instruction would be for nothing.
const OPTIONS: &[&str] = &["--format=docker", "--layers=false", "--pull-never"];

/// `sha256:`, 64 digits and the end of the line.
const MAX_IMAGE_ID_BYTES: u64 = 128;

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
    fs::write(target, archive.finish()?)
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
        };
        let launched = self.node.boot(&request.machine, boot).await?;
        Ok(Running(Some(launched.machine)))
    }
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

/// What happens between boot and end.
struct Build<'a> {
    guest: Guest,
    bases: &'a Bases,
    layer: &'a Path,
    limits: &'a BuildLimits,
    times: BuildTimes,
}

impl Build<'_> {
    async fn run(
        mut self,
        artifact: Artifact,
        log: &mpsc::Sender<String>,
    ) -> Result<Built, BuildError> {
        let start = Instant::now();
        self.guest.send_context(artifact).await?;
        self.times.context = start.elapsed();

        let start = Instant::now();
        self.buildah(log).await?;
        self.times.build = start.elapsed();

        let image = self.find_image().await?;
        if image.own.is_empty() && image.base.is_empty() {
            return Err(BuildError::Empty);
        }
        if !image.own.is_empty() {
            self.export(&image.own).await?;
        }
        Ok(Built {
            root: self.root(image),
            times: self.times,
        })
    }

    async fn buildah(&self, log: &mpsc::Sender<String>) -> Result<(), BuildError> {
        let options: Vec<String> = OPTIONS.iter().map(|&option| option.to_owned()).collect();
        let mut last = LastLines::default();
        let mut log = Log::new(log, self.limits.log_bytes);
        let status = self
            .guest
            .build(&options, async |line| {
                last.push(&line);
                log.pass_on(line).await;
            })
            .await?;
        match last.judge(status) {
            None => Ok(()),
            Some(failure) => Err(failure.into()),
        }
    }

    async fn find_image(&self) -> Result<Image, BuildError> {
        let text = self.guest.ask("image-id", &[], MAX_IMAGE_ID_BYTES).await?;
        let text = String::from_utf8_lossy(&text);
        let id = text.trim().trim_start_matches("sha256:").to_owned();
        let id = Id::try_from(id)?;
        let own_layers = Layers::parse(&self.index("/b/work/containers", "layers").await?)?;
        let base_layers = Layers::parse(self.bases.layers.to_string().as_bytes())?;
        // A Dockerfile that is nothing but FROM makes no image of its own.
        let mut place = "/b/work/containers";
        let mut images = store::parse_images(&self.index(place, "images").await?)?;
        if images.iter().all(|image| image.id != id) {
            place = "/b/store";
            images = store::parse_images(&self.index(place, "images").await?)?;
        }
        let top = store::find_image(&images, &id)?.layer.clone();
        let (own, below) = own_layers.chain(top.as_ref())?;
        let base = base_layers.whole_chain(below.as_ref())?;
        let arguments = [place.to_owned(), id.to_string()];
        let text = self
            .guest
            .ask("config", &arguments, config::MAX_CONFIG_BYTES)
            .await?;
        Ok(Image {
            own,
            base,
            config: ContainerConfig::parse(&text)?,
        })
    }

    /// An index of a store; that of an empty store when there is none.
    async fn index(&self, store: &str, name: &str) -> Result<Vec<u8>, BuildError> {
        let path = format!("{store}/overlay-{name}/{name}.json");
        let text = self
            .guest
            .ask("index", &[path], store::MAX_INDEX_BYTES)
            .await?;
        Ok(if text.is_empty() {
            b"[]".to_vec()
        } else {
            text
        })
    }

    /// Writes the layers to a disk inside, and streams that to its place here.
    async fn export(&mut self, own: &[Id]) -> Result<(), BuildError> {
        let start = Instant::now();
        let limit = self.limits.layer_bytes;
        let layers: Vec<String> = own.iter().map(Id::to_string).collect();
        let answer = self.guest.ask("pack", &layers, MAX_IMAGE_ID_BYTES).await?;
        let bytes = String::from_utf8_lossy(&answer).trim().parse();
        let bytes = bytes.unwrap_or(u64::MAX);
        if bytes > limit {
            return Err(BuildError::LayerTooLarge { bytes, limit });
        }
        self.times.pack = start.elapsed();

        let start = Instant::now();
        let unfinished = self.layer.with_extension("unfinished");
        let outcome = self.stream_layer(&unfinished, bytes).await;
        if outcome.is_err() {
            // The error of the stream is the one to report.
            let _ = fs::remove_file(&unfinished);
        }
        outcome?;
        self.times.export = start.elapsed();
        Ok(())
    }

    async fn stream_layer(&self, unfinished: &Path, bytes: u64) -> Result<(), BuildError> {
        let failed = |source| BuildError::Layer {
            path: self.layer.to_owned(),
            source,
        };
        let mut writer = SparseWriter::new(File::create(unfinished).map_err(failed)?);
        self.guest
            .receive("export", &[], |piece| {
                if writer.length() + piece.len() as u64 > bytes {
                    return Err(GuestError::TooLong {
                        step: "export",
                        limit: bytes,
                    });
                }
                writer.write(piece).map_err(GuestError::Keep)
            })
            .await?;
        let (from, to) = (unfinished.to_owned(), self.layer.to_owned());
        let publish = move || {
            writer.finish()?;
            fs::rename(&from, &to)?;
            File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        match tokio::task::spawn_blocking(publish).await {
            Ok(published) => published.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn root(&self, image: Image) -> Root {
        let mut disks = Vec::new();
        let mut add = |serial: &str, image: PathBuf| {
            disks.push(RootDisk {
                serial: serial.to_owned(),
                image,
            });
        };
        if !image.base.is_empty() {
            add(STORE_SERIAL, self.bases.store());
        }
        if !image.own.is_empty() {
            add(LAYER_SERIAL, self.layer.to_owned());
        }
        let own = (0..image.own.len()).map(|index| root::lower(LAYER_SERIAL, format!("l{index}")));
        let base = image.base.iter().map(store::diff_directory);
        let base = base.map(|directory| root::lower(STORE_SERIAL, directory));
        Root {
            disks,
            lower: own.chain(base).collect(),
            config: image.config,
        }
    }
}

/// The image that was built.
struct Image {
    /// Layers in the builder's own store, top first.
    own: Vec<Id>,
    /// Layers on the store disk, top first.
    base: Vec<Id>,
    config: ContainerConfig,
}

/// Passes lines on until it was enough.
struct Log<'a> {
    lines: &'a mpsc::Sender<String>,
    left: Option<u64>,
}

impl<'a> Log<'a> {
    fn new(lines: &'a mpsc::Sender<String>, bytes: u64) -> Self {
        Self {
            lines,
            left: Some(bytes),
        }
    }

    async fn pass_on(&mut self, line: String) {
        let Some(left) = self.left else { return };
        self.left = left.checked_sub(line.len() as u64 + 1);
        let line = match self.left {
            Some(_) => line,
            None => "[the rest of the build's output is left out]".to_owned(),
        };
        // A receiver that is gone wants no more.
        let _ = self.lines.send(line).await;
    }
}
