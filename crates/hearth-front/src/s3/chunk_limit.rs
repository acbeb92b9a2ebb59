//! A limit on the chunk size of a body whose chunks are signed.
//!
//! ```text
//! <hex size>[;chunk-signature=...]\r\n <bytes> \r\n  ...  0[;chunk-signature=...]\r\n <trailer> \r\n
//! ```
//!
//! `s3s` holds a chunk in memory until it is complete and can be verified. The client states the size, so the size is
//! read here first, and a body with a larger chunk ends in an error.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::wire::BodyError;

/// Largest chunk. botocore sends 1 MiB, other SDKs 64 to 128 KiB.
const MAX_CHUNK_BYTES: u64 = 4 << 20;

/// Most hexadecimal digits of a size: a size of so many digits cannot overflow.
const MAX_DIGITS: usize = 15;

/// Longest line before a chunk: the size and a signature.
const MAX_LINE_BYTES: usize = 256;

/// Whether a body comes in signed chunks.
pub(super) fn has_chunks(headers: &HeaderMap) -> bool {
    let claim = headers.get("x-amz-content-sha256");
    claim.is_some_and(|claim| claim.as_bytes().starts_with(b"STREAMING-"))
}

/// A body of chunks, each of limited size.
pub(super) struct LimitedChunks<B> {
    body: B,
    place: Place,
}

/// The position of the next byte in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the line before a chunk, after `read` bytes of it, with the part of the size read so far, and whether the
    /// size has ended.
    Line {
        read: usize,
        size: u64,
        has_ended: bool,
    },
    /// In a chunk or the line end after it, with `left` bytes to come.
    Chunk { left: u64 },
    /// After the last chunk.
    Trailer,
}

const LINE: Place = Place::Line {
    read: 0,
    size: 0,
    has_ended: false,
};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum BadChunk {
    #[error("a chunk of the body is larger than {MAX_CHUNK_BYTES} bytes")]
    Large,
    #[error("the body is not in chunks")]
    Malformed,
}

impl<B> LimitedChunks<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, place: LINE }
    }
}

impl Place {
    /// Processes bytes.
    fn pass(mut self, mut bytes: &[u8]) -> Result<Self, BadChunk> {
        while let Some((byte, rest)) = bytes.split_first() {
            match self {
                Self::Line {
                    read,
                    size,
                    has_ended,
                } => {
                    self = line(*byte, read, size, has_ended)?;
                    bytes = rest;
                }
                Self::Chunk { left } => {
                    let length = bytes.len() as u64;
                    if length < left {
                        return Ok(Self::Chunk {
                            left: left - length,
                        });
                    }
                    // At most as many as there are.
                    bytes = &bytes[left as usize..];
                    self = LINE;
                }
                Self::Trailer => return Ok(self),
            }
        }
        Ok(self)
    }
}

/// The position after a byte of a line.
fn line(byte: u8, read: usize, size: u64, has_ended: bool) -> Result<Place, BadChunk> {
    const LINE_END_BYTES: u64 = 2;
    if byte == b'\n' {
        return Ok(match size {
            0 => Place::Trailer,
            size => Place::Chunk {
                left: size + LINE_END_BYTES,
            },
        });
    }
    if read >= MAX_LINE_BYTES {
        return Err(BadChunk::Malformed);
    }
    let digit = char::from(byte).to_digit(16).filter(|_| !has_ended);
    let (size, has_ended) = match digit {
        Some(_) if read >= MAX_DIGITS => return Err(BadChunk::Large),
        Some(digit) => (size * 16 + u64::from(digit), false),
        None if read == 0 => return Err(BadChunk::Malformed),
        None => (size, true),
    };
    if size > MAX_CHUNK_BYTES {
        return Err(BadChunk::Large);
    }
    Ok(Place::Line {
        read: read + 1,
        size,
        has_ended,
    })
}

impl<B> Body for LimitedChunks<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            match self.place.pass(bytes) {
                Ok(place) => self.place = place,
                Err(error) => return Poll::Ready(Some(Err(Box::new(error)))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(size: usize) -> Vec<u8> {
        let mut bytes = format!("{size:x};chunk-signature={}\r\n", "0".repeat(64)).into_bytes();
        // Bytes that would be another line, if they were read as one.
        bytes.extend(b"f".repeat(size));
        bytes.extend(b"\r\n");
        bytes
    }

    proptest! {
        /// However the pieces of a body are cut, its chunks are seen as they are.
        #[test]
        fn a_body_is_passed_whole(
            sizes in prop::collection::vec(1_usize..5000, 0..8),
            piece in 1_usize..3000,
        ) {
            let mut body: Vec<u8> = sizes.iter().flat_map(|size| chunk(*size)).collect();
            body.extend(b"0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n");
            let mut place = LINE;
            for piece in body.chunks(piece) {
                place = place.pass(piece).unwrap();
            }
            prop_assert_eq!(place, Place::Trailer);
        }
    }

    #[test]
    fn a_large_chunk_is_seen_before_it_comes() {
        let largest = format!("{MAX_CHUNK_BYTES:x}\r\n");
        assert!(LINE.pass(largest.as_bytes()).is_ok());
        for line in [
            "400001\r\n",
            "100000000;chunk-signature=",
            "0000000000000001\r\n",
        ] {
            assert_eq!(LINE.pass(line.as_bytes()), Err(BadChunk::Large), "{line}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let endless = format!("1;{}", "a".repeat(MAX_LINE_BYTES));
        for line in [";chunk-signature=", "\r\n", "hello", endless.as_str()] {
            assert_eq!(
                LINE.pass(line.as_bytes()),
                Err(BadChunk::Malformed),
                "{line}"
            );
        }
    }
}
