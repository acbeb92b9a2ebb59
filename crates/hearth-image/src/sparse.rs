//! Sparse files: finding the ranges that hold data, and writing files so that they stay sparse.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Zeros are left out in units of this size: the block size of every file system that Hearth writes to.
const BLOCK_BYTES: usize = 4096;

/// The ranges of a file that hold data, in order, as its file system knows them. All bytes between them are zero. A
/// file system without holes reports one range. Used to send a sparse image to another host.
pub fn data_extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = file.metadata()?.len();
    let mut extents = Vec::new();
    let mut offset = 0;
    while offset < length {
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            // There is only a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        extents.push(start..end);
        offset = end;
    }
    Ok(extents)
}

/// Writes a file from its beginning; blocks of zeros become holes.
#[derive(Debug)]
pub(crate) struct SparseWriter {
    file: File,
    length: u64,
    /// The last block, which is not complete yet.
    block: Vec<u8>,
}

impl SparseWriter {
    /// Writes to `file`, which must be empty.
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            length: 0,
            block: Vec::with_capacity(BLOCK_BYTES),
        }
    }

    /// Bytes that were written, holes included.
    #[cfg(test)]
    fn length(&self) -> u64 {
        self.length + self.block.len() as u64
    }

    /// Appends `bytes`.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (head, tail) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(head);
            bytes = tail;
            if self.block.len() == BLOCK_BYTES {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    /// Sets the length of the file to the bytes written, and syncs it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_block()?;
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if self.block.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(&self.block, self.length)?;
        }
        self.length += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pieces in prop::collection::vec((0_u8..2, 0_usize..20_000), 0..8),
        ) {
            let mut file = tempfile::tempfile().unwrap();
            let mut writer = SparseWriter::new(file.try_clone().unwrap());
            let mut whole = Vec::new();
            for (byte, length) in pieces {
                let piece = vec![byte; length];
                writer.write(&piece).unwrap();
                whole.extend(piece);
            }
            prop_assert_eq!(writer.length(), whole.len() as u64);
            writer.finish().unwrap();
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &whole);
            // Every hole holds zeros.
            let mut covered = vec![false; whole.len()];
            for extent in data_extents(&file).unwrap() {
                covered[extent.start as usize..extent.end as usize].fill(true);
            }
            let zeros_elsewhere = whole.iter().zip(&covered).all(|(byte, is_data)| *is_data || *byte == 0);
            prop_assert!(zeros_elsewhere);
        }
    }

    #[test]
    fn zeros_take_no_room() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        let mut writer = SparseWriter::new(file.try_clone().unwrap());
        writer.write(&vec![0; 4 << 20]).unwrap();
        writer.write(&[1]).unwrap();
        writer.finish().unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), (4 << 20) + 1);
        assert!(metadata.blocks() * 512 < 1 << 20);
    }
}
