//! The disk behind a block device: one raw file, or a chain of qcow2 layers over a base.
//!
//! A chain is always what the caller listed. The backing names inside qcow2 headers are not
//! followed, and files with external data files are refused, so a header can name no file that the
//! caller did not mean.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use imago::file::File as ImageFile;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, StorageOpenOptions};
use thiserror::Error;
use vm_memory::VolatileSlice;

use super::fold;

/// Bytes of a virtio-blk sector, whatever the disk's block size (VIRTIO 1.3 section 5.2.4).
pub(super) const SECTOR: u64 = 512;

/// Each layer costs a table lookup for each read of what no newer layer wrote, and its own table cache.
pub const MAX_LAYERS: usize = 64;

/// The format of a disk file. It is never guessed from the content: a guest could have written a header into its raw
/// disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// The file holds the bytes of the disk (a file system image, for instance).
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl DiskFormat {
    /// Name of the format in qcow2's backing format extension.
    pub(super) fn qcow2_name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// One file of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLayer {
    /// Path of the file.
    pub path: PathBuf,
    /// Format of the file.
    pub format: DiskFormat,
}

/// Why a disk could not be opened.
#[derive(Debug, Error)]
pub enum ImageError {
    /// No layer at all, or more than [`MAX_LAYERS`].
    #[error("a disk of {0} layers; 1 to {MAX_LAYERS} are possible")]
    LayerCount(usize),
    /// A raw file has nothing below it.
    #[error("layer {} is raw but not the first", .0.display())]
    RawAbove(PathBuf),
    /// A writable disk must be a qcow2 overlay.
    #[error("layer {} is raw and cannot be written to", .0.display())]
    RawWritable(PathBuf),
    /// The file could not be opened.
    #[error("open layer {}", .path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not of its format, or uses features that Hearth refuses.
    #[error("read the format of layer {}", .path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// An open disk.
#[derive(Debug)]
pub(super) struct Image {
    access: FormatAccess<ImageFile>,
    /// A second descriptor of the top layer, for fdatasync; `None` if the disk is read-only.
    top: Option<File>,
}

impl Image {
    /// Opens `layers`, base first. Only the last one is opened for writing.
    pub(super) fn open(layers: &[DiskLayer], writable: bool) -> Result<Self, ImageError> {
        if layers.is_empty() || layers.len() > MAX_LAYERS {
            return Err(ImageError::LayerCount(layers.len()));
        }
        let mut below = None;
        let mut top = None;
        for (position, layer) in layers.iter().enumerate() {
            let writable = writable && position + 1 == layers.len();
            let (access, file) = open_layer(layer, writable, below)?;
            below = Some(access);
            top = writable.then_some(file);
        }
        below
            .map(|access| Self { access, top })
            .ok_or(ImageError::LayerCount(0))
    }

    /// Size in sectors; the tail of a raw file that ends within a sector reads as zeroes.
    pub(super) fn sectors(&self) -> u64 {
        self.access.size().div_ceil(SECTOR)
    }

    /// Fills `buffers` from `offset`.
    pub(super) fn read(&self, buffers: &[VolatileSlice<'_>], offset: u64) -> io::Result<()> {
        let (vector, _guard) = IoVectorMut::from_volatile_slice(buffers);
        self.access.readv(vector, offset)
    }

    /// Writes `buffers` at `offset`.
    pub(super) fn write(&self, buffers: &[VolatileSlice<'_>], offset: u64) -> io::Result<()> {
        let (vector, _guard) = IoVector::from_volatile_slice(buffers);
        self.access.writev(vector, offset)
    }

    /// Frees the clusters that lie wholly in the range. Afterwards the range reads as zeroes or as the old data, never
    /// as data of a layer below.
    pub(super) fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.access.discard_to_any(offset, len)
    }

    /// Makes the range read as zeroes, freeing it where that is allowed.
    pub(super) fn write_zeroes(&mut self, offset: u64, len: u64, free: bool) -> io::Result<()> {
        if free {
            self.access.discard_to_zero(offset, len)
        } else {
            self.access.write_zeroes(offset, len)
        }
    }

    /// Makes all completed writes durable on the host's disk, including the image's tables.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.access.flush()?;
        self.top.as_ref().map_or(Ok(()), File::sync_data)
    }

    #[cfg(test)]
    pub(super) fn access(&self) -> &FormatAccess<ImageFile> {
        &self.access
    }

    /// Copies into the top layer the data that the `count` layers below it hold and it does not.
    pub(super) fn fold(&self, count: usize) -> io::Result<()> {
        fold::fold(&self.access, count)
    }

    /// Makes the top layer complete and durable, and its file read-only. Nothing may be written after this. On an error
    /// the disk stays usable.
    pub(super) fn seal(&self) -> io::Result<()> {
        self.access.flush()?;
        if let Some(top) = &self.top {
            top.set_permissions(Permissions::from_mode(0o444))?;
            top.sync_all()?;
        }
        Ok(())
    }
}

fn open_layer(
    layer: &DiskLayer,
    writable: bool,
    below: Option<FormatAccess<ImageFile>>,
) -> Result<(FormatAccess<ImageFile>, File), ImageError> {
    let path = &layer.path;
    let open_error = |source| ImageError::Open {
        path: path.clone(),
        source,
    };
    let format_error = |source| ImageError::Format {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(writable)
        .open(path)
        .map_err(open_error)?;
    let second = file.try_clone().map_err(open_error)?;
    let options = StorageOpenOptions::new().filename(path).write(writable);
    let storage = ImageFile::from_open_file(file, options).map_err(open_error)?;
    let access = match layer.format {
        DiskFormat::Raw if below.is_some() => return Err(ImageError::RawAbove(path.clone())),
        DiskFormat::Raw if writable => return Err(ImageError::RawWritable(path.clone())),
        DiskFormat::Raw => FormatAccess::new(
            Raw::builder(storage)
                .open(DenyImplicitOpenGate::default())
                .map_err(format_error)?,
        ),
        DiskFormat::Qcow2 => {
            let image = Qcow2::<ImageFile>::builder(storage)
                .write(writable)
                .backing(below)
                .data_file(None)
                .open(DenyImplicitOpenGate::default())
                .map_err(format_error)?;
            if image.requires_external_data_file() {
                return Err(format_error(io::Error::other("external data file")));
            }
            FormatAccess::new(image)
        }
    };
    Ok((access, second))
}

/// Removes the `count` layers below the top one from the list: they were folded into it.
pub fn drop_below_top(layers: &mut Vec<DiskLayer>, count: usize) {
    let top = layers.len().saturating_sub(1);
    layers.drain(top.saturating_sub(count)..top);
}

/// Size in bytes of the disk that consists of `layers`.
pub fn disk_size(layers: &[DiskLayer]) -> Result<u64, ImageError> {
    Image::open(layers, false).map(|image| image.access.size())
}
