//! Decodes and serves one block request (VIRTIO 1.3 section 5.2.6).

use std::io;

use virtio_bindings::bindings::virtio_blk as blk;

use super::super::chain::{Buffers, Chain};
use super::super::fault::FaultCause;
use super::image::{Image, SECTOR};

/// Most bytes of one request's buffers. Linux sends 1280 KiB at most unless an administrator of the guest raises it.
/// The bound keeps the time of one request short, and with it that of a pause.
pub(super) const MAX_REQUEST_BYTES: u64 = 64 << 20;

/// Sectors that one discard or write-zeroes segment may cover: 256 MiB, 16384 clusters of our
/// overlays, whose tables are updated in some milliseconds.
pub(super) const MAX_DISCARD_SECTORS: u32 = (256 << 20) / SECTOR as u32;

/// Segments in one discard or write-zeroes request; Linux merges up to this many.
pub(super) const MAX_DISCARD_SEGMENTS: u32 = 8;

/// Bytes of an erased range that cost the host as much as one byte of data: the entry of each cluster of 16 KiB is written, at worst
/// a block of 512 bytes. A segment has 16 bytes and may cover 256 MiB, so its own length says nothing.
const ERASED_PER_BYTE: u64 = 32;

const SEGMENT_LEN: usize = 16;

/// The identity of the disk, padded with NULs.
pub(super) type Serial = [u8; blk::VIRTIO_BLK_ID_BYTES as usize];

/// The open disk that requests are served from, with its size and serial.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) image: Image,
    pub(super) sectors: u64,
    pub(super) read_only: bool,
    pub(super) serial: Serial,
}

/// A request that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    /// Bytes written into the chain.
    pub(super) written: u32,
    /// Additional cost of a discard or write-zeroes request, for the rate limiter.
    pub(super) erased: Erased,
}

/// The cost of a discard or write-zeroes request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Erased {
    /// Number of segments beyond the first: each is a request of its own to the image.
    pub(super) further_segments: u64,
    /// Approximate bytes of the disk's tables that were written.
    pub(super) table_bytes: u64,
}

/// How a request ended for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Io,
    Unsupported,
    /// The host's disk is full. Not reported to the driver.
    Full,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io,
        }
    }
}

impl Disk {
    /// Serves a chain and writes its status byte. Answers `None` if the host's disk is full: the caller serves the
    /// whole chain again later. An error would make the guest give up its file system for a condition that passes.
    ///
    /// # Errors
    ///
    /// The chain is not a well-formed request.
    pub(super) fn serve(&mut self, chain: &mut Chain<'_>) -> Result<Option<Served>, FaultCause> {
        let [kind, _reserved, sector @ ..] =
            header(&mut chain.readable).ok_or(FaultCause::Request("block header is short"))?;
        let sector = u64::from(sector[1]) << 32 | u64::from(sector[0]);
        let Some(data_len) = chain.writable.len().checked_sub(1) else {
            return Err(FaultCause::Request("block request without a status byte"));
        };
        let mut status_byte = chain.writable.split_off(data_len);
        let mut erased = Erased::default();
        let result = match kind {
            blk::VIRTIO_BLK_T_DISCARD | blk::VIRTIO_BLK_T_WRITE_ZEROES => self
                .erase(kind, &mut chain.readable, &mut erased)
                .map(|()| 0),
            _ => self.execute(kind, sector, &mut chain.readable, &mut chain.writable),
        };
        let (status, written) = match result {
            Ok(written) => (blk::VIRTIO_BLK_S_OK, written),
            Err(Failure::Io) => (blk::VIRTIO_BLK_S_IOERR, 0),
            Err(Failure::Unsupported) => (blk::VIRTIO_BLK_S_UNSUPP, 0),
            Err(Failure::Full) => return Ok(None),
        };
        status_byte.write(&[status as u8]);
        // On failure the data part is unspecified, and so is the used length before the status.
        Ok(Some(Served {
            written: written + 1,
            erased,
        }))
    }

    fn execute(
        &mut self,
        kind: u32,
        sector: u64,
        readable: &mut Buffers<'_>,
        writable: &mut Buffers<'_>,
    ) -> Result<u32, Failure> {
        match kind {
            blk::VIRTIO_BLK_T_IN => {
                let offset = self.range(sector, writable.len() as u64)?;
                self.image.read(writable.slices(), offset)?;
                // Bounded by MAX_REQUEST_BYTES.
                Ok(writable.len() as u32)
            }
            blk::VIRTIO_BLK_T_OUT => {
                self.writable()?;
                let offset = self.range(sector, readable.len() as u64)?;
                self.image.write(readable.slices(), offset)?;
                Ok(0)
            }
            blk::VIRTIO_BLK_T_FLUSH => {
                self.image.flush()?;
                Ok(0)
            }
            blk::VIRTIO_BLK_T_GET_ID => Ok(writable.write(&self.serial) as u32),
            _ => Err(Failure::Unsupported),
        }
    }

    /// Serves a discard or write-zeroes request. `erased` holds the cost, also if the request fails half-way.
    fn erase(
        &mut self,
        kind: u32,
        readable: &mut Buffers<'_>,
        erased: &mut Erased,
    ) -> Result<(), Failure> {
        self.writable()?;
        let count = readable.len() / SEGMENT_LEN;
        if !readable.len().is_multiple_of(SEGMENT_LEN)
            || count == 0
            || count > MAX_DISCARD_SEGMENTS as usize
        {
            return Err(Failure::Io);
        }
        for index in 0..count {
            let [low, high, sectors, flags] = header(readable).ok_or(Failure::Io)?;
            // Only one flag is defined, and not for discards (VIRTIO 1.3 section 5.2.6.2).
            let allowed = match kind {
                blk::VIRTIO_BLK_T_WRITE_ZEROES => blk::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
                _ => 0,
            };
            if flags & !allowed != 0 {
                return Err(Failure::Unsupported);
            }
            if sectors > MAX_DISCARD_SECTORS {
                return Err(Failure::Io);
            }
            let len = u64::from(sectors) * SECTOR;
            let offset = self.range(u64::from(high) << 32 | u64::from(low), len)?;
            erased.further_segments = index as u64;
            erased.table_bytes += len.div_ceil(ERASED_PER_BYTE);
            let done = match kind {
                blk::VIRTIO_BLK_T_DISCARD => self.image.discard(offset, len),
                _ => self.image.write_zeroes(offset, len, flags != 0),
            };
            done?;
        }
        Ok(())
    }

    fn writable(&self) -> Result<(), Failure> {
        if self.read_only {
            Err(Failure::Io)
        } else {
            Ok(())
        }
    }

    /// Byte offset of `sector`, if `len` bytes from there are whole sectors of the disk.
    fn range(&self, sector: u64, len: u64) -> Result<u64, Failure> {
        let fits = sector
            .checked_add(len / SECTOR)
            .is_some_and(|end| end <= self.sectors);
        if fits && len.is_multiple_of(SECTOR) {
            Ok(sector * SECTOR)
        } else {
            Err(Failure::Io)
        }
    }
}

/// Four little-endian words: the layout of the request header and of an erase segment.
fn header(buffers: &mut Buffers<'_>) -> Option<[u32; 4]> {
    let bytes = buffers.read_array::<16>()?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Some(words)
}
