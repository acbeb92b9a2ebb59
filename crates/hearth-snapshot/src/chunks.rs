//! Checksums of the sealed files, chunk by chunk.
//!
//! The `hashes` file is a list of 40-byte records, sorted: file index `u32`, chunk index `u32` (both
//! little-endian), BLAKE3 of the chunk. A chunk without a record is a hole and reads as zeros, so the cost
//! of sealing a sparse file follows its data, not its size.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Bytes of a chunk: large enough for BLAKE3's wide kernels, small enough to point at damage and to follow
/// the data of a sparse file.
pub(crate) const CHUNK_BYTES: u64 = 256 << 10;

/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 40;

/// The hash of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkHash {
    /// Index of the file in the body's list.
    pub(crate) file: u32,
    /// Index of the chunk in the file.
    pub(crate) chunk: u32,
    /// BLAKE3 of its bytes (the last chunk of a file may be short).
    pub(crate) hash: [u8; 32],
}

/// Hashes every chunk of `file` that holds data.
pub(crate) fn hash_file(file: &File, index: u32) -> io::Result<Vec<ChunkHash>> {
    let bytes = file.metadata()?.len();
    let mut hashes = Vec::new();
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    let mut next = 0;
    while let Some((start, end)) = data_range(file, next * CHUNK_BYTES, bytes)? {
        let last = end.div_ceil(CHUNK_BYTES);
        for chunk in (start / CHUNK_BYTES).max(next)..last {
            let hash = hash_chunk(file, chunk, bytes, &mut buffer)?;
            let chunk = u32::try_from(chunk).map_err(io::Error::other)?;
            hashes.push(ChunkHash {
                file: index,
                chunk,
                hash,
            });
        }
        next = last;
    }
    Ok(hashes)
}

/// Compares `file` with the recorded hashes. Answers the indices of chunks that differ.
pub(crate) fn verify_file(file: &File, index: u32, records: &[ChunkHash]) -> io::Result<Vec<u32>> {
    let zero_chunk = blake3::hash(&vec![0; CHUNK_BYTES as usize]);
    let found = hash_file(file, index)?;
    let mut expected = records
        .iter()
        .filter(|record| record.file == index)
        .peekable();
    let mut bad = Vec::new();
    for chunk in &found {
        while let Some(missing) = expected.next_if(|record| record.chunk < chunk.chunk) {
            // Recorded as data, now a hole: fine only when the data were zeros.
            if missing.hash != *zero_chunk.as_bytes() {
                bad.push(missing.chunk);
            }
        }
        let recorded = expected.next_if(|record| record.chunk == chunk.chunk);
        // Recorded as a hole, now data: fine only when the data are zeros (a copy that lost its holes).
        let hash = recorded.map_or(zero_chunk.as_bytes(), |record| &record.hash);
        if chunk.hash != *hash {
            bad.push(chunk.chunk);
        }
    }
    bad.extend(
        expected
            .filter(|record| record.hash != *zero_chunk.as_bytes())
            .map(|record| record.chunk),
    );
    Ok(bad)
}

/// Encodes records for the `hashes` file.
pub(crate) fn encode(records: &[ChunkHash]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len() * RECORD_BYTES);
    for record in records {
        out.extend_from_slice(&record.file.to_le_bytes());
        out.extend_from_slice(&record.chunk.to_le_bytes());
        out.extend_from_slice(&record.hash);
    }
    out
}

/// Decodes a `hashes` file whose digest was checked. `None` when the length is not that of whole records.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<ChunkHash>> {
    let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let decoded = records.iter().map(|record| {
        let mut hash = [0; 32];
        hash.copy_from_slice(&record[8..]);
        ChunkHash {
            file: u32::from_le_bytes([record[0], record[1], record[2], record[3]]),
            chunk: u32::from_le_bytes([record[4], record[5], record[6], record[7]]),
            hash,
        }
    });
    Some(decoded.collect())
}

fn hash_chunk(file: &File, chunk: u64, file_bytes: u64, buffer: &mut [u8]) -> io::Result<[u8; 32]> {
    let start = chunk * CHUNK_BYTES;
    let length = (file_bytes - start).min(CHUNK_BYTES) as usize;
    file.read_exact_at(&mut buffer[..length], start)?;
    // A short last chunk is hashed as if zeros followed, so that a hole and zeros are the same everywhere.
    buffer[length..].fill(0);
    Ok(*blake3::hash(buffer).as_bytes())
}

/// The first range at or after `from` that holds data.
pub(crate) fn data_range(
    file: &File,
    from: u64,
    file_bytes: u64,
) -> io::Result<Option<(u64, u64)>> {
    if from >= file_bytes {
        return Ok(None);
    }
    let Some(start) = seek(file, from, libc::SEEK_DATA)? else {
        return Ok(None);
    };
    let end = seek(file, start, libc::SEEK_HOLE)?.unwrap_or(file_bytes);
    Ok(Some((start, end)))
}

/// `lseek` to the next data or hole at or after `from`. `None` if there is none (`ENXIO`).
fn seek(file: &File, from: u64, whence: i32) -> io::Result<Option<u64>> {
    let from = i64::try_from(from).map_err(io::Error::other)?;
    // SAFETY: lseek takes no pointers; the descriptor is open as long as `file` is borrowed.
    let at = unsafe { libc::lseek(file.as_raw_fd(), from, whence) };
    if at >= 0 {
        return Ok(Some(at as u64));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENXIO) {
        Ok(None)
    } else {
        Err(error)
    }
}

const _: () = assert!(CHUNK_BYTES == 256 << 10 && RECORD_BYTES == 40);
