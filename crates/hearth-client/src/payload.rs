//! Bodies of requests: bytes in memory, or a file that is streamed.

use std::io;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::error::ClientError;

/// What goes over the wire.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Read from a file at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// The body of a request, with the hash that is signed.
pub struct Payload {
    content: Content,
    pub(crate) hash: String,
    /// `None` if the length is not known before the end.
    pub(crate) length: Option<u64>,
}

enum Content {
    Bytes(Bytes),
    File(File),
    Lines(mpsc::Receiver<Bytes>),
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self {
            hash: hearth_sigv4::payload_hash(&bytes),
            length: Some(bytes.len() as u64),
            content: Content::Bytes(bytes),
        }
    }
}

impl Payload {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Bytes::new().into()
    }

    /// A prefix of the content's hash, long enough to tell versions of one name apart.
    #[must_use]
    pub fn short_hash(&self) -> &str {
        self.hash.get(..16).unwrap_or(&self.hash)
    }

    /// The rest of a file, read twice: now for its hash, and when it is sent. It must not change in between.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn file(mut file: File) -> Result<Self, ClientError> {
        let start = file.stream_position().await.map_err(ClientError::File)?;
        let mut digest = Sha256::new();
        let mut length = 0;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = file.read(&mut buffer).await.map_err(ClientError::File)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            length += count as u64;
        }
        file.seek(io::SeekFrom::Start(start))
            .await
            .map_err(ClientError::File)?;
        Ok(Self {
            content: Content::File(file),
            hash: hearth_sigv4::hex(&digest.finalize()),
            length: Some(length),
        })
    }

    /// The bytes of a channel, until the channel closes. They are not known when the request is signed, so they are not
    /// signed.
    pub(crate) fn lines(lines: mpsc::Receiver<Bytes>) -> Self {
        Self {
            content: Content::Lines(lines),
            hash: hearth_sigv4::UNSIGNED_PAYLOAD.to_owned(),
            length: None,
        }
    }

    /// A copy of the payload for a retry. Only bytes in memory can be sent again.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.content {
            Content::Bytes(bytes) => Some(Self {
                content: Content::Bytes(bytes.clone()),
                hash: self.hash.clone(),
                length: self.length,
            }),
            Content::File(_) | Content::Lines(_) => None,
        }
    }

    pub(crate) fn into_body(self) -> Body {
        match self.content {
            Content::Bytes(bytes) => Full::new(bytes)
                .map_err(|never| match never {})
                .boxed_unsync(),
            Content::File(file) => {
                let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES);
                StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
            }
            Content::Lines(lines) => {
                let frames = unfold(lines, |mut lines| async {
                    let line = lines.recv().await?;
                    Some((Ok(Frame::data(line)), lines))
                });
                StreamBody::new(frames).boxed_unsync()
            }
        }
    }
}
