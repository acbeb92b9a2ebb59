//! The body of the fuzz target `s3_chunks`.

use super::{BadChunk, LINE, MAX_CHUNK_BYTES, MAX_LINE_BYTES, Place};

/// Passes a body in chunks through the limit. The first byte says in pieces of what size the body arrives. The pieces
/// must not change the result, and no chunk that passes is larger than the limit.
pub fn chunks(input: &[u8]) {
    let Some((piece, body)) = input.split_first() else {
        return;
    };
    let whole = LINE.pass(body);
    let pieces = body.chunks(usize::from(*piece).max(1));
    let cut = pieces
        .into_iter()
        .try_fold(LINE, |place: Place, piece| place.pass(piece));
    assert_eq!(cut, whole, "pieces of {piece} bytes");
    let largest = largest(body);
    match whole {
        Ok(_) => assert!(
            largest.is_none_or(|size| size <= u128::from(MAX_CHUNK_BYTES)),
            "a chunk of {largest:?} bytes was passed"
        ),
        Err(BadChunk::Large | BadChunk::Malformed) => {}
    }
}

/// The largest chunk that a simple parser finds, as far as the body goes.
fn largest(mut body: &[u8]) -> Option<u128> {
    let mut largest = None;
    loop {
        let end = body.iter().position(|byte| *byte == b'\n')?;
        let line = body.get(..end.min(MAX_LINE_BYTES))?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let digits = std::str::from_utf8(line.get(..digits)?).ok()?;
        let size = u128::from_str_radix(digits, 16).ok()?;
        largest = largest.max(Some(size));
        let next = usize::try_from(size).ok()?.checked_add(end + 3)?;
        if size == 0 || next > body.len() {
            return largest;
        }
        body = body.get(next..)?;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_s3_chunks() {
        let words: &[&[u8]] = &[
            b"\r\n",
            b"400000\r\n",
            b"400001\r\n",
            b"ffffffffffffffff",
            b"0\r\n",
            b";chunk-signature=",
        ];
        hearth_corpus::run("s3_chunks", words, super::chunks);
    }
}
