//! Reads and writes frames of hearth-wire on asynchronous streams.

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

/// Reads one message, whose body has at most `max_bytes`. Fails with [`FrameError::Closed`] if the stream ends between
/// two messages.
///
/// The other end may be hostile, and up to `max_bytes` are allocated for each stream that waits for the rest of a
/// message.
///
/// Not cancellation safe: after a read that was dropped half-way, the stream must be closed.
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
