//! The block device: its lifecycle, its configuration space, sealing.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use thiserror::Error;
use virtio_bindings::bindings::virtio_blk as blk;

use super::super::device::{
    ActivateError, Activation, DeviceKind, VirtioDevice, read_config_bytes,
};
use super::super::fault::FaultCause;
use super::super::limiter::{RateLimit, RateLimiter};
use super::super::queue::VirtioQueue;
use super::super::state::{BlockState, DeviceBody, RestoreBodyError};
use super::image::{self, DiskFormat, DiskLayer, Image, ImageError};
use super::overlay::{OverlayError, create_overlay};
use super::request::{Disk, MAX_DISCARD_SECTORS, MAX_DISCARD_SEGMENTS, Serial};
use super::worker::{Work, Worker};

const QUEUE_SIZE: u16 = 128;
const QUEUE_SIZES: &[u16] = &[QUEUE_SIZE];

/// Data segments of a request: the queue without the descriptors of header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

/// 4 KiB as a power of two of 512-byte blocks: the host's page and file system block.
const PHYSICAL_BLOCK_EXP: u8 = 3;

/// Sectors of one qcow2 cluster of our overlays: best size of a write, unit of a discard.
const CLUSTER_SECTORS: u32 = 32;

/// Configuration of a disk.
#[derive(Debug, Clone)]
pub struct BlockConfig {
    /// Name by which the guest finds the disk (GET_ID): at most 20 bytes.
    pub serial: String,
    /// The files of the disk, base first.
    pub layers: Vec<DiskLayer>,
    /// Whether the guest may only read. A writable disk's last layer must be qcow2.
    pub read_only: bool,
    /// Rate limit of reads and writes together.
    pub limit: RateLimit,
    /// Whether a restored disk may have another size than the saved one. The guest must not have read anything of
    /// either.
    pub is_replaced: bool,
}

/// Why a disk cannot be attached.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The serial does not fit.
    #[error("serial {0:?} is longer than {max} bytes", max = blk::VIRTIO_BLK_ID_BYTES)]
    Serial(String),
    /// The files cannot be opened.
    #[error("open the disk")]
    Image(#[from] ImageError),
}

/// Why a disk could not be sealed or stacked.
#[derive(Debug, Error)]
pub enum SealError {
    /// The device is not paused, or is sealed already.
    #[error("the disk is running or already sealed")]
    NotQuiet,
    /// The disk has no writable layer.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The layers below could not be copied. The disk is unchanged.
    #[error("fold the layers below")]
    Fold(#[source] io::Error),
    /// The layer could not be completed. The disk is unchanged.
    #[error("complete the layer")]
    Seal(#[source] io::Error),
    /// The new overlay could not be made.
    #[error("create the next overlay")]
    Overlay(#[from] OverlayError),
    /// The new chain could not be opened.
    #[error("open the new chain")]
    Open(#[from] ImageError),
}

/// The block device.
#[derive(Debug)]
pub struct Block {
    config: BlockConfig,
    sectors: u64,
    serial: Serial,
    /// The open disk; `None` while a worker owns it, and once the disk is sealed.
    disk: Option<Disk>,
    limiter: RateLimiter,
    phase: Phase,
    /// Whether the disk has another size than the guest knows.
    has_new_size: bool,
}

#[derive(Debug)]
enum Phase {
    Stopped,
    Parked(Activation),
    Working(Worker),
}

impl Block {
    /// Opens the disk's files.
    pub fn open(config: BlockConfig) -> Result<Self, BlockError> {
        let mut serial = Serial::default();
        match serial.get_mut(..config.serial.len()) {
            Some(room) => room.copy_from_slice(config.serial.as_bytes()),
            None => return Err(BlockError::Serial(config.serial)),
        }
        let image = Image::open(&config.layers, !config.read_only)?;
        let sectors = image.sectors();
        Ok(Self {
            sectors,
            serial,
            disk: Some(Disk {
                image,
                sectors,
                read_only: config.read_only,
                serial,
            }),
            limiter: RateLimiter::new(config.limit, Instant::now()),
            phase: Phase::Stopped,
            has_new_size: false,
            config,
        })
    }

    /// The disk's files, base first.
    #[must_use]
    pub fn layers(&self) -> &[DiskLayer] {
        &self.config.layers
    }

    /// Copies the data of the `count` layers below the writable layer into it, so that it reads the same without them.
    /// The device must be paused. On an error the disk reads as before.
    pub fn fold(&self, count: usize) -> Result<(), SealError> {
        if self.config.read_only {
            return Err(SealError::ReadOnly);
        }
        let (Phase::Stopped, Some(disk)) = (&self.phase, &self.disk) else {
            return Err(SealError::NotQuiet);
        };
        if count == 0 {
            return Ok(());
        }
        disk.image.fold(count).map_err(SealError::Fold)
    }

    /// Completes the writable layer: everything the guest was told is written is durable, and
    /// the file is read-only (0444). The device must be paused. Until [`Block::stack`] the device
    /// has no disk; a machine that is suspended ends here. The file may be renamed now.
    pub fn seal(&mut self) -> Result<(), SealError> {
        if self.config.read_only {
            return Err(SealError::ReadOnly);
        }
        let (Phase::Stopped, Some(disk)) = (&self.phase, &self.disk) else {
            return Err(SealError::NotQuiet);
        };
        disk.image.seal().map_err(SealError::Seal)?;
        self.disk = None;
        Ok(())
    }

    /// Puts a new overlay at `overlay` on the sealed layer, which now is at `sealed`, and makes
    /// it the disk, without the `folded` layers below the sealed one. On an error the disk stays sealed and this can be
    /// called again.
    pub fn stack(
        &mut self,
        sealed: PathBuf,
        folded: usize,
        overlay: &Path,
    ) -> Result<(), SealError> {
        if self.disk.is_some() || !matches!(self.phase, Phase::Stopped) {
            return Err(SealError::NotQuiet);
        }
        let mut layers = self.config.layers.clone();
        image::drop_below_top(&mut layers, folded);
        let Some(top) = layers.last_mut() else {
            return Err(ImageError::LayerCount(0).into());
        };
        top.path = sealed;
        let backing = Some((top.path.as_path(), top.format));
        create_overlay(overlay, self.sectors * image::SECTOR, backing)?;
        layers.push(DiskLayer {
            path: overlay.to_owned(),
            format: DiskFormat::Qcow2,
        });
        match Image::open(&layers, true) {
            Ok(image) => {
                let (sectors, serial) = (self.sectors, self.serial);
                self.disk = Some(Disk {
                    image,
                    sectors,
                    read_only: false,
                    serial,
                });
                self.config.layers = layers;
                Ok(())
            }
            Err(error) => {
                // So that the same path can be tried again; there is nothing in it yet.
                let _ = std::fs::remove_file(overlay);
                Err(error.into())
            }
        }
    }

    /// [`Block::seal`] and [`Block::stack`], for a file that keeps its path.
    pub fn seal_and_stack(&mut self, overlay: &Path) -> Result<(), SealError> {
        self.seal()?;
        let sealed = self.config.layers.last().map(|layer| layer.path.clone());
        self.stack(sealed.unwrap_or_default(), 0, overlay)
    }

    fn put_to_work(&mut self, mut activation: Activation) -> Result<Worker, FaultCause> {
        let lost = FaultCause::Host("the disk is sealed".into());
        let queue = activation
            .queues
            .pop()
            .ok_or(FaultCause::Request("no queue"))?;
        let disk = self.disk.take().ok_or(lost)?;
        // From here on the worker waits for notifications itself.
        activation.registrar.remove(queue.kick_event().as_raw_fd());
        let limiter = self.limiter.clone();
        Worker::spawn(Work {
            queue,
            ram: activation.ram,
            disk,
            limiter,
        })
        .map_err(|error| FaultCause::Host(format!("start the disk's worker: {error}")))
    }
}

impl VirtioDevice for Block {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Block
    }

    fn features(&self) -> u64 {
        let always = 1 << blk::VIRTIO_BLK_F_SEG_MAX
            | 1 << blk::VIRTIO_BLK_F_BLK_SIZE
            | 1 << blk::VIRTIO_BLK_F_TOPOLOGY
            | 1 << blk::VIRTIO_BLK_F_FLUSH;
        let by_access = if self.config.read_only {
            1 << blk::VIRTIO_BLK_F_RO
        } else {
            1 << blk::VIRTIO_BLK_F_DISCARD | 1 << blk::VIRTIO_BLK_F_WRITE_ZEROES
        };
        always | by_access
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    /// struct virtio_blk_config (VIRTIO 1.3 section 5.2.4).
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let mut config = [0; 60];
        let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.sectors.to_le_bytes());
        put(12, &SEG_MAX.to_le_bytes());
        put(20, &(image::SECTOR as u32).to_le_bytes());
        put(24, &[PHYSICAL_BLOCK_EXP]);
        put(28, &CLUSTER_SECTORS.to_le_bytes());
        put(36, &MAX_DISCARD_SECTORS.to_le_bytes());
        put(40, &MAX_DISCARD_SEGMENTS.to_le_bytes());
        put(44, &CLUSTER_SECTORS.to_le_bytes());
        put(48, &MAX_DISCARD_SECTORS.to_le_bytes());
        put(52, &MAX_DISCARD_SEGMENTS.to_le_bytes());
        put(56, &[1]);
        read_config_bytes(&config, offset, data);
    }

    fn start(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.phase = Phase::Parked(activation);
        Ok(())
    }

    fn on_kick(&mut self, _index: u16) {
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Parked(activation) => {
                let link = std::sync::Arc::clone(&activation.link);
                match self.put_to_work(activation) {
                    Ok(worker) => self.phase = Phase::Working(worker),
                    Err(cause) => link.fail(0, cause),
                }
            }
            // A notification that was on its way when the worker took over.
            other => self.phase = other,
        }
    }

    fn stop(&mut self) -> Vec<VirtioQueue> {
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Stopped => Vec::new(),
            Phase::Parked(activation) => activation.queues,
            Phase::Working(worker) => match worker.stop() {
                Some(Work {
                    queue,
                    disk,
                    limiter,
                    ..
                }) => {
                    self.disk = Some(disk);
                    self.limiter = limiter;
                    vec![queue]
                }
                None => Vec::new(),
            },
        }
    }

    fn reset(&mut self) {}

    fn save(&self) -> DeviceBody {
        DeviceBody::Block(BlockState {
            capacity_sectors: self.sectors,
            read_only: self.config.read_only,
            serial: self.config.serial.clone(),
        })
    }

    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError> {
        let DeviceBody::Block(saved) = body else {
            return Err(RestoreBodyError::WrongKind);
        };
        let changed =
            |what, saved: String, now: String| Err(RestoreBodyError::Changed { what, saved, now });
        self.has_new_size = saved.capacity_sectors != self.sectors;
        if self.has_new_size && !self.config.is_replaced {
            let (saved, now) = (saved.capacity_sectors, self.sectors);
            return changed("capacity in sectors", saved.to_string(), now.to_string());
        }
        if saved.read_only != self.config.read_only {
            let (saved, now) = (saved.read_only, self.config.read_only);
            return changed("read-only", saved.to_string(), now.to_string());
        }
        if saved.serial != self.config.serial {
            return changed("serial", saved.serial.clone(), self.config.serial.clone());
        }
        Ok(())
    }

    fn has_new_config(&self) -> bool {
        self.has_new_size
    }
}
