//! Framing: a `u32` little-endian body length, then the body (postcard).
//!
//! ```text
//! +----------------+---------------------+
//! | length: u32 LE | body: length bytes  |
//! +----------------+---------------------+
//! ```
//!
//! The version of a protocol is the first member of its opening message, so that it can be read before
//! anything that a later version may have changed.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest body of a frame, in bytes.
///
/// Bulk data travels in pieces of at most [`crate::agent::MAX_CHUNK_BYTES`]; what is larger than this is a
/// mistake or an attack. It also bounds what a reader allocates for one frame.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed, or ended inside a frame.
    #[error("the stream failed inside a frame")]
    Io(#[from] io::Error),
    /// The stream ended between two frames.
    #[error("the stream was closed")]
    Closed,
    /// The length prefix (or the message to send) is larger than [`MAX_FRAME_BYTES`], or than the reader allows on this stream.
    #[error("a frame of {0} bytes is larger than what is taken here")]
    TooLarge(usize),
    /// The body is not a message of the expected type.
    #[error("a frame does not decode")]
    Decode(#[source] postcard::Error),
    /// A message does not encode; only possible for types that postcard cannot express.
    #[error("a message does not encode")]
    Encode(#[source] postcard::Error),
}

/// Encodes `message` with its length prefix.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut out =
        postcard::to_extend(message, vec![0; PREFIX_BYTES]).map_err(FrameError::Encode)?;
    let body_bytes = out.len() - PREFIX_BYTES;
    if body_bytes > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(body_bytes));
    }
    // The bound above fits u32.
    out[..PREFIX_BYTES].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    Ok(out)
}

/// Reads the length of a body from its prefix and checks the bound.
pub fn body_length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    Ok(length)
}

/// Decodes the body of a frame. Bytes left over after the message are an error.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(FrameError::Decode)?;
    if !rest.is_empty() {
        return Err(FrameError::Decode(postcard::Error::DeserializeBadEncoding));
    }
    Ok(message)
}

/// The first member of a message, when that is a `u16` as in every opening message: its protocol version.
///
/// Can be read even where the rest of the message is of another version.
pub fn version(body: &[u8]) -> Option<u16> {
    postcard::take_from_bytes(body)
        .ok()
        .map(|(version, _)| version)
}

/// Writes one message to a blocking stream.
pub fn write<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), FrameError> {
    stream.write_all(&encode(message)?)?;
    Ok(())
}

/// Reads one message from a blocking stream.
///
/// Answers [`FrameError::Closed`] when the stream ends before the first byte of a frame.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, FrameError> {
    let mut prefix = [0; PREFIX_BYTES];
    let mut filled = 0;
    while filled < PREFIX_BYTES {
        match stream.read(&mut prefix[filled..]) {
            Ok(0) if filled == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut body = vec![0; body_length(prefix)?];
    stream.read_exact(&mut body)?;
    decode(&body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_survives_the_wire() {
        let mut bytes = Vec::new();
        write(&mut bytes, &("hello", 7_u32)).unwrap();
        let (text, number): (String, u32) = read(&mut bytes.as_slice()).unwrap();
        assert_eq!((text.as_str(), number), ("hello", 7));
    }

    #[test]
    fn an_empty_stream_is_closed_and_a_cut_one_is_an_error() {
        assert!(matches!(
            read::<u8>(&mut [].as_slice()),
            Err(FrameError::Closed)
        ));
        assert!(matches!(
            read::<u8>(&mut [1, 0].as_slice()),
            Err(FrameError::Io(_))
        ));
        assert!(matches!(
            read::<u8>(&mut [1, 0, 0, 0].as_slice()),
            Err(FrameError::Io(_))
        ));
    }

    #[test]
    fn an_oversized_length_is_refused_before_allocation() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(matches!(
            read::<u8>(&mut bytes.as_slice()),
            Err(FrameError::TooLarge(_))
        ));
        assert!(matches!(
            encode(&vec![0_u8; MAX_FRAME_BYTES]),
            Err(FrameError::TooLarge(_))
        ));
    }

    #[test]
    fn the_version_is_read_before_the_rest() {
        let bytes = encode(&(7_u16, "of another time")).unwrap();
        assert_eq!(version(&bytes[PREFIX_BYTES..]), Some(7));
        assert_eq!(version(&[]), None);
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert!(matches!(decode::<u8>(&[1, 2]), Err(FrameError::Decode(_))));
    }

    proptest! {
        /// Whatever arrives, decoding the messages of both protocols answers and does not panic.
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            crate::fuzz::messages(&body);
        }
    }
}
