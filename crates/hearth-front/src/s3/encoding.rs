//! How keys are encoded in listings.
//!
//! XML 1.0 cannot express some characters that a key may have. With `encoding-type=url`, which the SDKs ask for and
//! decode, every key can be listed. Without it a listing with such a key is refused: an altered key would name
//! another object.

use s3s::dto::EncodingType;
use s3s::{S3Result, s3_error};

/// The encoding of texts in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    /// The encoding that a request asks for.
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }

    /// Encodes a key, or a part of one.
    pub(super) fn write(self, text: &str) -> S3Result<String> {
        match self {
            Self::Url => Ok(percent_encoded(text)),
            Self::Plain if text.chars().all(is_told_by_xml) => Ok(text.to_owned()),
            Self::Plain => Err(s3_error!(
                InvalidRequest,
                "A key in this listing has a character that XML 1.0 cannot have. Ask with encoding-type=url."
            )),
        }
    }

    pub(super) fn write_some(self, text: Option<&String>) -> S3Result<Option<String>> {
        text.map(|text| self.write(text)).transpose()
    }
}

/// The encoding of S3: that of forms, but `/` and `*` stay.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b'*' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                for digit in [byte >> 4, byte & 0xf] {
                    encoded.push(char::from(DIGITS[usize::from(digit)]));
                }
            }
        }
    }
    encoded
}

/// XML 1.0 section 2.2, without the carriage return, which a parser turns into a line feed (section 2.11).
const fn is_told_by_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finding L10: whoever decodes gets the key back, and not another object's.
    #[test]
    fn keys_are_encoded_as_s3_encodes_them() {
        for (key, encoded) in [
            ("a/b.txt", "a/b.txt"),
            ("a%2Fb", "a%252Fb"),
            ("a+b", "a%2Bb"),
            ("a b", "a+b"),
            ("test_file(3).png", "test_file%283%29.png"),
            ("~\u{1}\n", "%7E%01%0A"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(Encoding::Url.write(key).unwrap(), encoded);
        }
    }

    #[test]
    fn what_xml_cannot_tell_is_refused() {
        for key in ["a\tb\nc", "ü<&>", "\u{10FFFF}"] {
            assert_eq!(Encoding::Plain.write(key).unwrap(), key);
        }
        for key in ["\u{1}", "a\rb", "\u{0}", "\u{FFFE}", "\u{1F}"] {
            assert!(Encoding::Plain.write(key).is_err(), "{key:?}");
        }
        let asked = EncodingType::from_static("base64");
        assert!(Encoding::of(Some(&asked)).is_err());
    }
}
