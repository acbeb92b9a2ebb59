//! Adapts a stream of chunks to `Read` and `Write`.

use std::fs::File;
use std::io::{self, Read, Write};

use hearth_wire::agent::{Chunk, MAX_CHUNK_BYTES};
use hearth_wire::frame::{self, FrameError};

use super::next_piece;

/// Reads the chunks that a host sends.
pub(super) struct Chunks<'a> {
    stream: &'a mut File,
    piece: io::Cursor<Vec<u8>>,
    has_ended: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn of(stream: &'a mut File) -> Self {
        Self {
            stream,
            piece: io::Cursor::default(),
            has_ended: false,
        }
    }

    /// Reads to the end and discards the bytes.
    pub(super) fn drain(&mut self) -> Result<(), FrameError> {
        while !self.has_ended {
            self.has_ended = next_piece(self.stream)?.is_none();
        }
        Ok(())
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || self.has_ended || buffer.is_empty() {
                return Ok(count);
            }
            match next_piece(self.stream).map_err(io::Error::other)? {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => self.has_ended = true,
            }
        }
    }
}

/// Writes chunks to a host.
pub(super) struct Pieces<'a> {
    stream: &'a mut File,
    piece: Vec<u8>,
}

impl<'a> Pieces<'a> {
    pub(super) fn to(stream: &'a mut File) -> Self {
        Self {
            stream,
            piece: Vec::with_capacity(MAX_CHUNK_BYTES),
        }
    }

    /// Sends the buffered bytes and the empty chunk that ends the stream.
    pub(super) fn end(mut self) -> Result<(), FrameError> {
        self.send()?;
        frame::write(self.stream, &Chunk(Vec::new()))
    }

    fn send(&mut self) -> Result<(), FrameError> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, Vec::with_capacity(MAX_CHUNK_BYTES));
        frame::write(self.stream, &Chunk(full))
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == MAX_CHUNK_BYTES {
            self.send().map_err(io::Error::other)?;
        }
        let count = bytes.len().min(MAX_CHUNK_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
