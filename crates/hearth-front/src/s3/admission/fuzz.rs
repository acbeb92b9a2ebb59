//! The body of the fuzz target `s3_admission`.

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Request};

use super::{MAX_EXPIRES_S, admit};
use crate::uri::query_pairs;

/// A time in 2024, as in the corpus.
const NOW_S: i64 = 1_709_251_200;

/// The header that makes a copy of another object out of an upload.
const COPY: &str = "x-amz-copy-source";

/// Checks the head of a request: a line with method and URI, then one line per header. An admitted request has one
/// signature, expires within a week if it says when, is no form, and would be refused with one more header that is
/// not signed.
pub fn admission(input: &[u8]) {
    let Some(mut head) = read(input) else {
        return;
    };
    if admit(&head, NOW_S).is_err() {
        return;
    }
    let pairs: Vec<_> = query_pairs(head.uri.query().unwrap_or_default()).collect();
    let count = |name: &str| pairs.iter().filter(|(known, _)| known == name).count();
    let in_header = head.headers.get_all("authorization").iter().count();
    let signatures = in_header + count("X-Amz-Signature") + count("Signature");
    assert_eq!(signatures, 1, "one signature counts");
    // As `s3s` does: the one value that is UTF-8, and its type without the text after a `+`.
    let kinds = head.headers.get_all("content-type").iter();
    let mut kinds = kinds.filter_map(|kind| std::str::from_utf8(kind.as_bytes()).ok());
    let is_form = match (kinds.next(), kinds.next()) {
        (Some(kind), None) => {
            let kind = kind.split([';', '+']).next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case("multipart/form-data")
        }
        _ => false,
    };
    assert!(!is_form || head.method != Method::POST, "forms are refused");
    if count("X-Amz-Signature") == 1 {
        let ends = pairs
            .iter()
            .find(|(known, _)| known == "X-Amz-Expires")
            .map(|(_, text)| text.parse());
        assert!(
            matches!(ends, Some(Ok(0..=MAX_EXPIRES_S))),
            "it ends within a week"
        );
    }
    // Version 2 signs every such header.
    if count("Signature") == 0 && !head.headers.contains_key(COPY) {
        let signed = format!("{:?} {pairs:?}", head.headers.get("authorization"));
        if !signed.to_ascii_lowercase().contains(COPY) {
            let value = HeaderValue::from_static("/bucket/key");
            head.headers.insert(COPY, value);
            assert!(admit(&head, NOW_S).is_err(), "a header that is not signed");
        }
    }
}

fn read(input: &[u8]) -> Option<Parts> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let address = std::str::from_utf8(words.next()?).ok()?;
    let mut request = Request::builder().method(method).uri(address);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        request = request.header(name, HeaderValue::from_bytes(value).ok()?);
    }
    let (head, ()) = request.body(()).ok()?.into_parts();
    Some(head)
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_s3_admission() {
        let words: &[&[u8]] = &[
            b"X-Amz-Signature=",
            b"&Signature=",
            b"Expires=604801",
            b"X-Amz-SignedHeaders=host",
            b"%3B",
            b"\nauthorization: AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request, SignedHeaders=host, Signature=00",
            b"\nx-amz-copy-source: /a/b",
            b"\ncontent-type: multipart/form-data; boundary=b",
            b";x-amz-date",
        ];
        hearth_corpus::run("s3_admission", words, super::admission);
    }
}
