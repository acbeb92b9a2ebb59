//! Bulk bytes as one piece.
//!
//! Serde treats a `Vec<u8>` as a sequence and visits each byte; under emulation that alone limits a stream
//! to a few MiB a second. With `#[serde(with = "crate::bytes")]` the bytes are copied at once. In postcard
//! both have the same form (varint length, then the bytes), which a test holds.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Writes the bytes in one piece.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads the bytes in one piece.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_byte_buf(BytesVisitor)
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::{Chunk, ExecOutput, LogLine, LogLineKind};
    use crate::frame;
    use proptest::prelude::*;
    use serde::Serialize;

    /// The messages as they would be without this module.
    #[derive(Serialize)]
    struct PlainChunk(Vec<u8>);

    proptest! {
        #[test]
        fn the_form_is_that_of_a_sequence(bytes: Vec<u8>) {
            let plain = frame::encode(&PlainChunk(bytes.clone())).unwrap();
            prop_assert_eq!(frame::encode(&Chunk(bytes)).unwrap(), plain);
        }

        #[test]
        fn bytes_survive(bytes: Vec<u8>) {
            let output = ExecOutput::Stderr(bytes.clone());
            let frame = frame::encode(&output).unwrap();
            prop_assert_eq!(frame::decode::<ExecOutput>(&frame[frame::PREFIX_BYTES..]).unwrap(), output);
            let line = LogLine { realtime_ns: 1, kind: LogLineKind::Stderr, bytes };
            let frame = frame::encode(&line).unwrap();
            prop_assert_eq!(frame::decode::<LogLine>(&frame[frame::PREFIX_BYTES..]).unwrap(), line);
        }
    }
}
