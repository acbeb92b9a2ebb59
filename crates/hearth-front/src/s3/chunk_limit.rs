//! A limit on the chunk size of a body whose chunks are signed.
//!
//! ```text
//! <hex size>[;chunk-signature=...]\r\n <bytes> \r\n  ...  0[;chunk-signature=...]\r\n <trailer> \r\n
//! ```
//!
//! `s3s` keeps a chunk in memory until it has all of it and can verify it. The size is the client's word, so it is read here on its
//! way, and a body with a larger one ends in an error. What a large chunk takes is counted: an account has so much for chunks of all
//! its uploads, and an upload for whose chunk there is none waits. By then its head has been verified.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::memory::{Memory, Taken};
use crate::wire::BodyError;

/// Largest chunk. botocore sends 1 MiB, other SDKs 64 to 128 KiB.
const MAX_CHUNK_BYTES: u64 = 4 << 20;

/// A rest of a chunk up to which it costs nothing: what a connection may have in its buffers in any case.
const FREE_BYTES: u64 = 256 << 10;

/// Hexadecimal digits of a size that can be read without overflowing.
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
    memory: Arc<Memory>,
    account: String,
    /// What the present chunk has taken.
    _taken: Option<Taken>,
    /// A piece that waits for memory for the chunk in which it ends.
    waiting: Option<(Frame<Bytes>, Waiting)>,
}

type Waiting = Pin<Box<dyn Future<Output = Option<Taken>> + Send>>;

/// Where in a body the next byte stands.
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
    /// `memory` is for chunks; the account takes of it.
    pub(super) fn new(body: B, memory: Arc<Memory>, account: String) -> Self {
        Self {
            body,
            place: LINE,
            memory,
            account,
            _taken: None,
            waiting: None,
        }
    }

    /// What has to be waited for before a piece goes on, after which the body stands at `next`.
    fn memory_for(&mut self, next: Place) -> Option<Waiting> {
        let before = std::mem::replace(&mut self.place, next);
        let is_same = next.left_bytes() < before.left_bytes();
        if is_same && next.left_bytes() > 0 {
            return None;
        }
        self._taken = None;
        if next.left_bytes() <= FREE_BYTES {
            return None;
        }
        let (memory, account) = (Arc::clone(&self.memory), self.account.clone());
        let bytes = usize::try_from(next.left_bytes()).ok()?;
        Some(Box::pin(async move { memory.wait(&account, bytes).await }))
    }
}

impl Place {
    /// What is to come of the present chunk.
    fn left_bytes(self) -> u64 {
        match self {
            Self::Chunk { left } => left,
            Self::Line { .. } | Self::Trailer => 0,
        }
    }

    /// Goes over bytes.
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
        let this = &mut *self;
        if this.waiting.is_none() {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let place = match &frame {
                Some(Ok(frame)) => frame.data_ref().map(|bytes| this.place.pass(bytes)),
                _ => None,
            };
            let waiting = match place {
                Some(Ok(place)) => this.memory_for(place),
                Some(Err(error)) => return Poll::Ready(Some(Err(Box::new(error)))),
                None => None,
            };
            this.waiting = match (frame, waiting) {
                (Some(Ok(frame)), Some(waiting)) => Some((frame, waiting)),
                (frame, _) => return Poll::Ready(frame),
            };
        }
        if let Some((_, waiting)) = &mut this.waiting {
            this._taken = ready!(waiting.as_mut().poll(context));
        }
        let frame = this.waiting.take().map(|(frame, _)| Ok(frame));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::super::memory::OF_ACCOUNT_BYTES;
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

    type Piece = Result<Frame<Bytes>, BodyError>;

    /// An upload that has sent the beginning of a chunk of the largest size, and its end when it is told so.
    fn upload(
        memory: &Arc<Memory>,
        account: &str,
    ) -> (
        mpsc::UnboundedSender<Piece>,
        impl Body<Data = Bytes, Error = BodyError> + Unpin,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel::<Piece>();
        let begin = format!("{MAX_CHUNK_BYTES:x}\r\nbegin");
        sender.send(Ok(Frame::data(begin.into()))).unwrap();
        let pieces = stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let body = StreamBody::new(Box::pin(pieces));
        (
            sender,
            LimitedChunks::new(body, Arc::clone(memory), account.to_owned()),
        )
    }

    /// Large chunks that are not whole are held as a whole: an account has room for some, and others are not kept waiting by it.
    #[tokio::test(start_paused = true)]
    async fn chunks_wait_for_the_memory_of_their_account() {
        let memory = Arc::new(Memory::new(8 * MAX_CHUNK_BYTES as usize));
        let comes = async |body: &mut (dyn Body<Data = Bytes, Error = BodyError> + Unpin)| {
            timeout(Duration::from_secs(1), body.frame()).await.is_ok()
        };
        let mut held = Vec::new();
        loop {
            let (sender, mut body) = upload(&memory, "greedy");
            if !comes(&mut body).await {
                break;
            }
            held.push((sender, body));
            assert!(held.len() < 100, "as many as one likes");
        }
        assert_eq!(held.len(), OF_ACCOUNT_BYTES / MAX_CHUNK_BYTES as usize);
        let (_other, mut body) = upload(&memory, "other");
        assert!(comes(&mut body).await);
        // Small chunks need nothing.
        let small = StreamBody::new(stream::iter([Ok(Frame::data("10000\r\nx".into()))]));
        let mut small = LimitedChunks::new(small, Arc::clone(&memory), "greedy".to_owned());
        assert!(comes(&mut small).await);
        // The end of a chunk gives back what it had.
        let (sender, mut ended) = held.pop().unwrap();
        let rest = "x".repeat(MAX_CHUNK_BYTES as usize - "begin".len());
        sender
            .send(Ok(Frame::data(format!("{rest}\r\n").into())))
            .unwrap();
        assert!(comes(&mut ended).await);
        let (_next, mut body) = upload(&memory, "greedy");
        assert!(comes(&mut body).await);
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
