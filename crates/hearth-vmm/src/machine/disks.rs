//! Disks of a machine: the configuration of block devices from the node's request, and how writable disks are sealed
//! and continued on a new overlay.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_wire::vmm::{DiskImage, DiskSpec};

use super::device_error::DeviceError;
use super::rate_limit::rate_limit;
use crate::virtio::block::{
    Block, BlockConfig, BlockError, DiskFormat, DiskLayer, SealError, create_overlay, disk_size,
    drop_below_top,
};
use crate::virtio::limiter::RateLimit;
use crate::virtio::{DeviceBody, DeviceState, MmioTransport};

/// A writable disk.
pub(super) struct WritableDisk {
    /// The block device.
    pub(super) device: Arc<MmioTransport<Block>>,
    /// The configuration that the disk was opened with; `layers` is kept in step with the device.
    pub(super) config: BlockConfig,
}

/// Newly created overlay files. They are removed on drop, unless [`NewOverlays::keep`] was called.
#[derive(Debug, Default)]
pub(super) struct NewOverlays(Vec<PathBuf>);

impl NewOverlays {
    /// Adds a file that was created.
    pub(super) fn add(&mut self, path: PathBuf) {
        self.0.push(path);
    }

    /// Keeps the files. Called when the machine is complete.
    pub(super) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for NewOverlays {
    fn drop(&mut self) {
        for path in &self.0 {
            // What stays is an empty overlay in a directory that the node sweeps.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Why a sealed disk could not be opened for writing again.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// A snapshot has the file under a name of its own, so it must never be written again.
    #[error("its file belongs to a snapshot already")]
    Owned,
    /// The file could not be made writable.
    #[error("make its file writable")]
    Permissions(#[source] io::Error),
    /// The disk could not be opened.
    #[error(transparent)]
    Open(#[from] BlockError),
}

impl WritableDisk {
    /// Path of the top layer, which takes the guest's writes.
    pub(super) fn top(&self) -> PathBuf {
        self.config
            .layers
            .last()
            .map(|layer| layer.path.clone())
            .unwrap_or_default()
    }

    /// How many images can be folded into the top layer: all images below it except the base.
    pub(super) fn foldable(&self) -> usize {
        self.config.layers.len().saturating_sub(2)
    }

    /// Continues on a new overlay above the sealed file, which keeps its old name too until the snapshot is
    /// in place. The `folded` images below the sealed file are left out.
    pub(super) fn stack(&mut self, overlay: &Path, folded: usize) -> Result<(), SealError> {
        let sealed = self.top();
        self.device
            .with_device(|block| block.stack(sealed, folded, overlay))
    }

    /// Notes that the disk continues on `overlay`. Called when all disks of the machine are on their overlays.
    pub(super) fn moved_to(&mut self, overlay: &Path, folded: usize) {
        drop_below_top(&mut self.config.layers, folded);
        let layer = DiskLayer {
            path: overlay.to_owned(),
            format: DiskFormat::Qcow2,
        };
        self.config.layers.push(layer);
    }

    /// Makes the sealed file writable again and opens it as the top layer. No-op for a disk that was not sealed.
    pub(super) fn reopen(&mut self) -> Result<(), ReopenError> {
        let top = self.top();
        let metadata = fs::metadata(&top).map_err(ReopenError::Permissions)?;
        if metadata.mode() & 0o222 != 0 {
            return Ok(());
        }
        if metadata.nlink() > 1 {
            return Err(ReopenError::Owned);
        }
        fs::set_permissions(&top, Permissions::from_mode(0o600))
            .map_err(ReopenError::Permissions)?;
        let block = Block::open(self.config.clone())?;
        self.device.with_device(|device| *device = block);
        Ok(())
    }
}

/// Translates the node's request to the configuration of a block device, and creates the overlay of a writable disk.
pub(super) fn block_config(
    spec: &DiskSpec,
    saved: Option<&DeviceState>,
) -> Result<BlockConfig, DeviceError> {
    let (layers, read_only) = match &spec.image {
        DiskImage::ReadOnly { path } => (
            vec![DiskLayer {
                path: path.clone(),
                format: DiskFormat::Raw,
            }],
            true,
        ),
        DiskImage::Overlay { path, backing } => {
            let mut layers = backing_layers(backing);
            let saved = saved.filter(|_| !spec.is_replaced);
            let bytes = disk_bytes(&spec.serial, &layers, saved)?;
            let top = layers
                .last()
                .map(|layer| (layer.path.as_path(), layer.format));
            create_overlay(path, bytes, top).map_err(|source| DeviceError::Overlay {
                serial: spec.serial.clone(),
                path: path.clone(),
                source,
            })?;
            layers.push(DiskLayer {
                path: path.clone(),
                format: DiskFormat::Qcow2,
            });
            (layers, false)
        }
    };
    let limit = spec.rate_limit.map_or_else(RateLimit::default, rate_limit);
    Ok(BlockConfig {
        serial: spec.serial.clone(),
        layers,
        read_only,
        limit,
        is_replaced: spec.is_replaced,
    })
}

/// Orders the images for the device, base first. The node names them nearest to the top first, the raw base last.
fn backing_layers(backing: &[PathBuf]) -> Vec<DiskLayer> {
    let formats = std::iter::once(DiskFormat::Raw).chain(std::iter::repeat(DiskFormat::Qcow2));
    let layer = |(path, format): (&PathBuf, DiskFormat)| DiskLayer {
        path: path.clone(),
        format,
    };
    backing.iter().rev().zip(formats).map(layer).collect()
}

/// The size of the disk in bytes. A restored disk has its saved size, so its images need not be opened to find out.
fn disk_bytes(
    serial: &str,
    layers: &[DiskLayer],
    saved: Option<&DeviceState>,
) -> Result<u64, DeviceError> {
    match saved.map(|state| &state.body) {
        Some(DeviceBody::Block(state)) => Ok(state.capacity_sectors.saturating_mul(512)),
        _ => disk_size(layers).map_err(|source| DeviceError::Backing {
            serial: serial.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backing_files_are_turned_round_and_only_the_base_is_raw() {
        let layers = backing_layers(&["near".into(), "far".into(), "base".into()]);
        let seen: Vec<_> = layers
            .iter()
            .map(|layer| (layer.path.to_str().unwrap(), layer.format))
            .collect();
        let (raw, qcow2) = (DiskFormat::Raw, DiskFormat::Qcow2);
        assert_eq!(seen, [("base", raw), ("far", qcow2), ("near", qcow2)]);
    }
}
