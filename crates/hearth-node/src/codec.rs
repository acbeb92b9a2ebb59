//! The framing of hearth-wire on asynchronous streams.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use hearth_wire::frame::{self, FrameError, PREFIX_BYTES};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Writes one message.
pub(crate) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    stream.write_all(&frame::encode(message)?).await?;
    Ok(())
}

/// Reads one message, whose body has at most so many bytes; [`FrameError::Closed`] when the stream ends between two.
///
/// The other end may be hostile, and so much is allocated for each stream that waits for the rest of a message.
///
/// Not cancellation safe: a read that is dropped half-way has lost bytes, and its stream must be closed.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
) -> Result<T, FrameError> {
    let mut prefix = [0; PREFIX_BYTES];
    let first = stream.read(&mut prefix).await?;
    if first == 0 {
        return Err(FrameError::Closed);
    }
    stream.read_exact(&mut prefix[first..]).await?;
    let length = frame::body_length(prefix)?;
    if length > max_bytes {
        return Err(FrameError::TooLarge(length));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    frame::decode(&body)
}
