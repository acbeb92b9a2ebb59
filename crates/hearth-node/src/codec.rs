//! The framing of hearth-wire on asynchronous streams.

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

/// Reads one message; [`FrameError::Closed`] when the stream ends between two.
///
/// Not cancellation safe: a read that is dropped half-way has lost bytes, and its stream must be closed.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<T, FrameError> {
    let mut prefix = [0; PREFIX_BYTES];
    let first = stream.read(&mut prefix).await?;
    if first == 0 {
        return Err(FrameError::Closed);
    }
    stream.read_exact(&mut prefix[first..]).await?;
    let mut body = vec![0; frame::body_length(prefix)?];
    stream.read_exact(&mut body).await?;
    frame::decode(&body)
}
