//! Splits a program's output into records: lines, or pieces of lines that are too long.

use bytes::{Bytes, BytesMut};
use hearth_invoke::MAX_OUTPUT_BYTES;

/// The part of a stream whose line has not ended.
#[derive(Debug, Default)]
pub(super) struct Lines(BytesMut);

impl Lines {
    /// Takes bytes in the order in which they were written. Answers the records that are complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<Bytes> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let room = MAX_OUTPUT_BYTES - self.0.len();
            let within = &bytes[..bytes.len().min(room)];
            match within.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.0.extend_from_slice(&bytes[..end]);
                    records.push(self.0.split().freeze());
                    bytes = &bytes[end + 1..];
                }
                None => {
                    self.0.extend_from_slice(within);
                    bytes = &bytes[within.len()..];
                    // Without the newline that may follow at once: a line of exactly this size is one record.
                    if self.0.len() == MAX_OUTPUT_BYTES {
                        records.push(self.0.split().freeze());
                        bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
                    }
                }
            }
        }
        records
    }

    /// The last line, if nothing ended it.
    pub(super) fn finish(self) -> Option<Bytes> {
        (!self.0.is_empty()).then(|| self.0.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_records() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a"), [""; 0]);
        assert_eq!(lines.push(b"b\n\nc\r\nd"), ["ab", "", "c\r"]);
        assert_eq!(lines.finish().unwrap(), "d");
        assert_eq!(Lines::default().finish(), None);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long = vec![b'x'; 2 * MAX_OUTPUT_BYTES];
        let mut lines = Lines::default();
        let records = lines.push(&[&long[..], b"\nend\n"].concat());
        let lengths: Vec<_> = records.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES, 3]);
        assert_eq!(lines.finish(), None);
    }
}
