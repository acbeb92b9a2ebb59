//! The steps of a build in a builder microVM, between its boot and its end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::{BuildError, BuildLimits, BuildTimes};
use crate::artifact::Artifact;
use crate::bases::{BaseImage, Bases};
use crate::config::{self, ContainerConfig};
use crate::dockerfile::{Dockerfile, Refusal};
use crate::failure::{self, Failure, LastLines, Usage};
use crate::guest::{Guest, GuestError, Said};
use crate::progress::Progress;
use crate::registries::Registries;
use crate::root::{self, LAYER_SERIAL, Root, RootDisk, STORE_SERIAL};
use crate::sparse::SparseWriter;
use crate::store::{self, Id, Layers};

/// Option for Docker's image format, which supports HEALTHCHECK, SHELL and ONBUILD.
const FORMAT: &str = "--format=docker";

/// The network of the builder, which goes as far as the build's egress: another one in it would only cost time.
const NETWORK: &str = "--network=host";

/// Beside the group of buildah itself, in the group that limits both (`guest.sh`).
const CGROUP: &str = "--cgroup-parent=/build/run";

/// With a cache, every instruction is committed. Without one, that would be for nothing.
const LAYERS: &str = "--layers=true";
const NO_LAYERS: &str = "--layers=false";

/// Option not to pull missing images. Used without a network, where an attempt would only make the error harder to
/// read.
const PULL_MISSING: &str = "--pull=missing";
const PULL_NEVER: &str = "--pull-never";

/// `sha256:`, 64 digits and the end of the line.
const MAX_IMAGE_ID_BYTES: u64 = 128;

/// A path with its line end. Linux takes paths of 4 KiB.
const MAX_PATH_BYTES: u64 = 4097;

/// Paths in one request to the guest's agent, which fit in its largest frame.
const SOURCES_AT_ONCE: usize = 15;

/// Six lines of a number and some words.
const MAX_USAGE_BYTES: u64 = 1024;

/// Pieces of a disk that wait to be written.
const PIECES: usize = 8;

/// The result of a build in the guest.
pub(super) struct Made {
    pub(super) root: Root,
    pub(super) times: BuildTimes,
    /// Whether a registry was asked for anything. Its answer may differ next time, so the result is not reused.
    pub(super) has_pulled: bool,
}

/// The state of a build between boot and end of its microVM.
pub(super) struct Build<'a> {
    pub(super) guest: Guest,
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) bases: &'a Bases,
    pub(super) aliases: &'a BTreeMap<String, String>,
    pub(super) registries: &'a Registries,
    /// The registries that are reached through the build's proxy.
    pub(super) proxied: &'a [String],
    pub(super) has_network: bool,
    /// Whether the image store outlives the build.
    pub(super) has_cache: bool,
    pub(super) layer: &'a Path,
    pub(super) limits: &'a BuildLimits,
    pub(super) times: BuildTimes,
}

impl Build<'_> {
    pub(super) async fn run(
        mut self,
        artifact: Arc<Artifact>,
        log: &mpsc::Sender<String>,
    ) -> Result<Made, BuildError> {
        let start = Instant::now();
        if let Err(error) = self.guest.send_context(artifact).await {
            return Err(self.explain(error).await);
        }
        let settings = self
            .registries
            .to_tar(self.proxied, &self.dockerfile.text)
            .map_err(GuestError::Keep)?;
        self.guest.send_settings(settings).await?;
        self.find_sources().await?;
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
        Ok(Made {
            has_pulled: image.has_pulled,
            root: self.root(image),
            times: self.times,
        })
    }

    /// Checks that what a `COPY --parents` names is there.
    async fn find_sources(&self) -> Result<(), BuildError> {
        for named in self.dockerfile.named_sources.chunks(SOURCES_AT_ONCE) {
            let paths: Vec<String> = named.iter().map(|source| source.path.clone()).collect();
            let answer = self.guest.ask("missing", &paths, MAX_PATH_BYTES).await?;
            let missing = String::from_utf8_lossy(&answer);
            let missing = missing.trim_end_matches('\n');
            if let Some(source) = named.iter().find(|source| source.path == missing) {
                let refusal = Refusal {
                    line: source.line,
                    reason: format!("COPY --parents {missing}: it is not in the context"),
                };
                return Err(Failure::Refused(refusal).into());
            }
        }
        Ok(())
    }

    async fn buildah(&self, log: &mpsc::Sender<String>) -> Result<(), BuildError> {
        let options = self.options();
        let mut last = LastLines::default();
        let mut log = Log::new(log, self.limits.log_bytes);
        let mut progress = Progress::default();
        let mut buildah = self.guest.build(&options).await?;
        let status = loop {
            match buildah.next().await? {
                Said::Line(line) => {
                    last.push(&line);
                    log.pass_on(progress.translate(&line, Instant::now())).await;
                }
                Said::End(status) => break status,
            }
        };
        match last.judge(status, &self.bases.images, self.dockerfile) {
            None => {
                log.pass_on(progress.end(Instant::now())).await;
                Ok(())
            }
            Some(failure) => {
                let failure = self.measure(failure).await;
                log.pass_on(progress.fail(&failure.to_string())).await;
                Err(failure.into())
            }
        }
    }

    /// Says what takes the room, where that is what is missing.
    async fn measure(&self, failure: Failure) -> Failure {
        let Failure::DiskFull { reason, .. } = failure else {
            return failure;
        };
        // A builder that answers no more leaves the reason without figures.
        let answer = self.guest.ask("usage", &[], MAX_USAGE_BYTES).await;
        let usage = Usage::parse(&answer.unwrap_or_default());
        Failure::DiskFull { reason, usage }
    }

    /// A step around the build that failed for want of room is a failure of what is built.
    async fn explain(&self, error: GuestError) -> BuildError {
        let GuestError::Step { complaint, .. } = &error else {
            return error.into();
        };
        if !failure::DISK_FULL
            .iter()
            .any(|words| complaint.contains(words))
        {
            return error.into();
        }
        let failure = Failure::DiskFull {
            reason: complaint.clone(),
            usage: Usage::default(),
        };
        self.measure(failure).await.into()
    }

    async fn find_image(&self) -> Result<Image, BuildError> {
        let text = self.guest.ask("image-id", &[], MAX_IMAGE_ID_BYTES).await?;
        let text = String::from_utf8_lossy(&text);
        let id = text.trim().trim_start_matches("sha256:").to_owned();
        let id = Id::try_from(id)?;
        let own_layers = Layers::parse(&self.index("/b/work/containers", "layers").await?)?;
        // A Dockerfile that is nothing but FROM makes no image of its own.
        let mut place = "/b/work/containers";
        let mut images = store::parse_images(&self.index(place, "images").await?)?;
        // buildah names what it pulls, and names nothing else; names of earlier builds are gone (`guest.sh`, `keep`).
        let has_pulled = images.iter().any(|image| !image.names.is_empty());
        if images.iter().all(|image| image.id != id) {
            place = "/b/store";
            images = store::parse_images(&self.index(place, "images").await?)?;
        }
        let top = store::find_image(&images, &id)?.layer.clone();
        let (own, below) = own_layers.chain(top.as_ref())?;
        let base = self.bases.layers.whole_chain(below.as_ref())?;
        let arguments = [place.to_owned(), id.to_string()];
        let text = self
            .guest
            .ask("config", &arguments, config::MAX_CONFIG_BYTES)
            .await?;
        Ok(Image {
            own,
            base,
            has_pulled,
            config: ContainerConfig::parse(&text)?,
        })
    }

    /// Reads an index of a store. A missing index is that of an empty store.
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

    /// Writes the layers to a disk in the guest, and streams that disk to the host.
    async fn export(&mut self, own: &[Id]) -> Result<(), BuildError> {
        let start = Instant::now();
        let limit = self.limits.layer_bytes;
        let layers: Vec<String> = own.iter().map(Id::to_string).collect();
        let answer = self.guest.ask("pack", &layers, MAX_IMAGE_ID_BYTES).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(error).await),
        };
        let bytes = String::from_utf8_lossy(&answer).trim().parse();
        let bytes = bytes.unwrap_or(u64::MAX);
        if bytes > limit {
            return Err(BuildError::LayerTooLarge { bytes, limit });
        }
        self.times.pack = start.elapsed();

        let start = Instant::now();
        self.stream_layer(bytes).await?;
        self.times.export = start.elapsed();
        Ok(())
    }

    /// Streams the disk of `bytes` bytes to a file, which gets its name when it is complete. A thread of its own
    /// writes, so that a slow disk of the host delays only this build.
    async fn stream_layer(&self, bytes: u64) -> Result<(), BuildError> {
        let failed = |source| BuildError::Layer {
            path: self.layer.to_owned(),
            source,
        };
        let (pieces, queue) = mpsc::channel(PIECES);
        let to = self.layer.to_owned();
        let writing = tokio::task::spawn_blocking(move || write_layer(&to, queue));
        let mut left = bytes;
        let received = self.guest.receive("export", &[], |piece| {
            let (pieces, fits) = (pieces.clone(), left.checked_sub(piece.len() as u64));
            left = fits.unwrap_or(0);
            async move {
                if fits.is_none() {
                    return Err(GuestError::TooLong {
                        step: "export",
                        limit: bytes,
                    });
                }
                // A writer that has failed wants no more, and has its own error to tell.
                let sent = pieces.send(Piece::Bytes(piece)).await;
                sent.map_err(|_| GuestError::Keep(io::ErrorKind::BrokenPipe.into()))
            }
        });
        let received = received.await;
        if received.is_ok() {
            let _ = pieces.send(Piece::End).await;
        }
        drop(pieces);
        match writing.await {
            Ok(written) => written.map_err(failed)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        Ok(received?)
    }

    /// Options of `buildah bud`. An alias is passed as a build context that is an image.
    fn options(&self) -> Vec<String> {
        let pull = match self.has_network {
            true => PULL_MISSING,
            false => PULL_NEVER,
        };
        // Without layers, buildah removes the image of a stage on which another stands, down to the bases in the
        // store that it cannot write, and fails there: "layer not known" (buildah 1.39).
        let layers = match self.has_cache || self.dockerfile.has_stage_on_stage {
            true => LAYERS,
            false => NO_LAYERS,
        };
        let mut options: Vec<String> = [FORMAT, NETWORK, CGROUP, layers, pull]
            .map(str::to_owned)
            .into();
        let mut means = |name: &str, image: &str| {
            options.push(format!("--build-context={name}=container-image://{image}"));
        };
        for (alias, image) in self.aliases {
            match self.bases.images.iter().any(|base| base.name == *image) {
                true => means(alias, &format!("localhost/{image}")),
                false => means(alias, image),
            }
        }
        // buildah would find ours, whose names end like that.
        for (name, image) in self
            .bases
            .images
            .iter()
            .filter_map(BaseImage::usual_meaning)
        {
            if !self.aliases.contains_key(name) {
                means(name, &image);
            }
        }
        options
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

/// A piece of the disk that is streamed to the host.
enum Piece {
    Bytes(Vec<u8>),
    /// The disk is complete.
    End,
}

/// Writes a disk, and gives it its name when it is complete. Blocks.
fn write_layer(to: &Path, mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
    let unfinished = Unfinished(to.with_extension("unfinished"));
    let mut writer = SparseWriter::new(File::create(&unfinished.0)?);
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(piece)) => writer.write(&piece)?,
            Some(Piece::End) => break,
            // The builder has failed, and says why.
            None => return Ok(()),
        }
    }
    writer.finish()?;
    fs::rename(&unfinished.0, to)?;
    File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// A file that is removed on drop, unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Mostly it has its final name by now.
        let _ = fs::remove_file(&self.0);
    }
}

/// The image that was built.
struct Image {
    /// Layers in the builder's own store, top first.
    own: Vec<Id>,
    /// Layers on the store disk, top first.
    base: Vec<Id>,
    /// Whether a registry was asked for anything.
    has_pulled: bool,
    config: ContainerConfig,
}

/// Passes lines on, up to the limit of output.
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

    async fn pass_on(&mut self, lines: Vec<String>) {
        for line in lines {
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
}
