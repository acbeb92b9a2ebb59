//! The framing `application/vnd.amazon.eventstream`.
//!
//! ```text
//! total length: u32 │ length of headers: u32 │ CRC-32 of both: u32 │ headers │ payload │ CRC-32 of all before: u32
//! header: length of name: u8 │ name │ 7 (a text) │ length of value: u16 │ value            numbers are big-endian
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes beside headers and payload.
const OVERHEAD: usize = 16;

/// The type of a header's value: a text.
const TEXT: u8 = 7;

/// An event.
pub(super) fn message(event_type: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let mut headers = BytesMut::new();
    for (name, value) in [
        (":message-type", "event"),
        (":event-type", event_type),
        (":content-type", content_type),
    ] {
        // All names and values are short constants of this crate.
        headers.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        headers.put_slice(name.as_bytes());
        headers.put_u8(TEXT);
        headers.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        headers.put_slice(value.as_bytes());
    }
    let total = OVERHEAD + headers.len() + payload.len();
    let mut message = BytesMut::with_capacity(total);
    // A response is at most 200 MiB.
    message.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    message.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
    put_crc(&mut message);
    message.put_slice(&headers);
    message.put_slice(payload);
    put_crc(&mut message);
    message.freeze()
}

fn put_crc(message: &mut BytesMut) {
    let crc = crc32(message);
    message.put_u32(crc);
}

/// CRC-32 as in Ethernet and zip (IEEE 802.3): reflected, polynomial 0x04C11DB7.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        let place = (crc ^ u32::from(*byte)) & 0xff;
        crc = (crc >> 8) ^ TABLE[place as usize];
    }
    !crc
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let mut value = place as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xEDB8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[place] = value;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_message_says_its_lengths() {
        let message = message("PayloadChunk", "application/octet-stream", b"abc");
        let number = |place: usize| {
            u32::from_be_bytes(message[place..place + 4].try_into().unwrap()) as usize
        };
        assert_eq!(number(0), message.len());
        assert_eq!(number(4), message.len() - OVERHEAD - 3);
        assert_eq!(number(8), crc32(&message[..8]) as usize);
        assert_eq!(&message[message.len() - 7..message.len() - 4], b"abc");
    }
}
