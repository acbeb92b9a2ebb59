//! The framed log of the official interface clients: what they write to the descriptor `_LAMBDA_TELEMETRY_LOG_FD`.
//!
//! ```text
//! type: u32 (0xA55A0000 + level) │ length: u32 │ timestamp in µs: u64 │ text        all big-endian
//! ```
//!
//! A frame is one record, however many lines it has. Bytes that do not begin a frame are passed on as text of their
//! own, so that a program which writes garbage loses nothing and gains nothing.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::environment::MAX_OUTPUT_BYTES;

/// Upper half of the type of every frame.
const MAGIC: u32 = 0xA55A_0000;

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 16;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramedRecord {
    /// Microseconds since 1970 that the program gave. `None` for bytes that were no frame.
    pub timestamp_us: Option<u64>,
    /// The text, at most [`MAX_OUTPUT_BYTES`]. Longer records are cut into several.
    pub text: Bytes,
}

/// Splits a stream of bytes into records.
#[derive(Debug, Default)]
pub struct FramedLog {
    buffer: BytesMut,
    /// What is left of a frame whose head has been read.
    rest: Option<Rest>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    bytes: usize,
    timestamp_us: u64,
}

impl FramedLog {
    /// Takes bytes in the order in which they were written. Returns the records that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<FramedRecord> {
        self.buffer.extend_from_slice(bytes);
        let mut records = Vec::new();
        while let Some(record) = self.next_record() {
            if !record.text.is_empty() {
                records.push(record);
            }
        }
        records
    }

    /// What is left when the stream has ended: the part of a frame that was written, or nothing.
    pub fn finish(mut self) -> Option<FramedRecord> {
        let text = self.buffer.split().freeze();
        let timestamp_us = self.rest.map(|rest| rest.timestamp_us);
        (!text.is_empty()).then_some(FramedRecord { timestamp_us, text })
    }

    fn next_record(&mut self) -> Option<FramedRecord> {
        if self.rest.is_none() && !self.read_head() {
            return self.not_a_frame();
        }
        let rest = self.rest?;
        let wanted = rest.bytes.min(MAX_OUTPUT_BYTES);
        if self.buffer.len() < wanted {
            return None;
        }
        let text = self.buffer.split_to(wanted).freeze();
        let bytes = rest.bytes - wanted;
        self.rest = (bytes > 0).then_some(Rest { bytes, ..rest });
        Some(FramedRecord {
            timestamp_us: Some(rest.timestamp_us),
            text,
        })
    }

    /// Reads the head of a frame, if the buffer begins with one.
    fn read_head(&mut self) -> bool {
        if self.buffer.len() < HEAD_BYTES || !begins_frame(&self.buffer) {
            return false;
        }
        let mut head = self.buffer.split_to(HEAD_BYTES);
        head.advance(4);
        let bytes = head.get_u32() as usize;
        let timestamp_us = head.get_u64();
        self.rest = Some(Rest {
            bytes,
            timestamp_us,
        });
        true
    }

    /// Takes bytes that no frame begins with. `None` if they may become a frame.
    fn not_a_frame(&mut self) -> Option<FramedRecord> {
        if self.buffer.is_empty() || may_begin_frame(&self.buffer) {
            return None;
        }
        let end = (1..self.buffer.len())
            .find(|start| may_begin_frame(&self.buffer[*start..]))
            .unwrap_or(self.buffer.len())
            .min(MAX_OUTPUT_BYTES);
        Some(FramedRecord {
            timestamp_us: None,
            text: self.buffer.split_to(end).freeze(),
        })
    }
}

fn begins_frame(bytes: &[u8]) -> bool {
    bytes.len() >= 2 && bytes[..2] == MAGIC.to_be_bytes()[..2]
}

/// Whether these bytes are a frame or the beginning of one.
fn may_begin_frame(bytes: &[u8]) -> bool {
    let magic = &MAGIC.to_be_bytes()[..2];
    match bytes.len() {
        0 => true,
        1 => bytes[0] == magic[0],
        _ => begins_frame(bytes),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(text: &[u8]) -> Vec<u8> {
        let mut bytes = (MAGIC + 0x0F).to_be_bytes().to_vec();
        bytes.extend((text.len() as u32).to_be_bytes());
        bytes.extend(7_u64.to_be_bytes());
        bytes.extend(text);
        bytes
    }

    #[test]
    fn a_frame_is_one_record_whatever_its_lines() {
        let mut log = FramedLog::default();
        let records = log.push(&frame(b"a\nb"));
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].timestamp_us, Some(7));
        assert_eq!(&records[0].text[..], b"a\nb");
        assert_eq!(log.finish(), None);
    }

    #[test]
    fn garbage_before_a_frame_is_a_record_of_its_own() {
        let mut log = FramedLog::default();
        let mut bytes = b"oops".to_vec();
        bytes.extend(frame(b"x"));
        let records = log.push(&bytes);
        let texts: Vec<&[u8]> = records.iter().map(|record| &record.text[..]).collect();
        assert_eq!(texts, [&b"oops"[..], b"x"]);
    }

    #[test]
    fn a_long_frame_is_cut_and_buffers_no_more_than_a_record() {
        let mut log = FramedLog::default();
        let text = vec![b'a'; MAX_OUTPUT_BYTES + 10];
        let records = log.push(&frame(&text));
        let sizes: Vec<usize> = records.iter().map(|record| record.text.len()).collect();
        assert_eq!(sizes, [MAX_OUTPUT_BYTES, 10]);
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), cut in 1_usize..30) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(text)).collect();
            let mut log = FramedLog::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                found.extend(log.push(part).into_iter().map(|record| record.text.to_vec()));
            }
            prop_assert_eq!(found, texts);
        }

        #[test]
        fn garbage_is_never_lost(bytes in prop::collection::vec(0_u8..0xA5, 0..200)) {
            let mut log = FramedLog::default();
            let mut found: Vec<u8> = log.push(&bytes).into_iter().flat_map(|record| record.text.to_vec()).collect();
            found.extend(log.finish().into_iter().flat_map(|record| record.text.to_vec()));
            prop_assert_eq!(found, bytes);
        }
    }
}
