//! Percent-encoding of paths and queries, as AWS signs and reads them (RFC 3986 section 2.3).

/// Pairs that one query may have; SDKs send a handful.
const MAX_QUERY_PAIRS: usize = 256;

/// The decoded pairs of a query string, in order. `+` is a plus: AWS encodes blanks as `%20`.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(MAX_QUERY_PAIRS)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_lossy(name), decode_lossy(value))
        })
}

/// Encodes everything but the unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
            encoded
        })
}

/// The canonical query: every pair decoded and encoded again, in order. A raw `=` inside a value stays: clients
/// that send one have signed it so.
#[must_use]
pub fn canonical_query(query: &str, is_signed: impl Fn(&str) -> bool) -> String {
    let anew = |text: &str| {
        let parts: Vec<_> = text
            .split('=')
            .map(|part| encode(&decode_lossy(part)))
            .collect();
        parts.join("=")
    };
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(MAX_QUERY_PAIRS);
    let mut pairs: Vec<_> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (anew(name), anew(value)))
        .filter(|(name, _)| is_signed(name))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Decodes percent escapes; `None` if an escape is invalid or the result is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn decode_lossy(text: &str) -> String {
    decode(text).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%1", "%zz", "%ff"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in ".{0,64}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn any_query_can_be_read(query in ".{0,256}") {
            prop_assert!(query_pairs(&query).count() <= MAX_QUERY_PAIRS);
        }
    }
}
