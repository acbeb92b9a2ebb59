//! Limits the memory for bodies that `s3s` reads as a whole: lists of keys, of parts, and all other XML.
//!
//! Bodies of objects are streamed and not counted. A request takes memory before its body is read and returns it when
//! the request is answered. If none is free, the client is told to slow down; the SDKs retry.

use hearth_http::{Share, Shares};
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;

use super::MAX_XML_BYTES;
use crate::uri::query_pairs;

/// For one account: four of the largest bodies, or a hundred usual ones.
const OF_ACCOUNT_BYTES: usize = 4 * MAX_XML_BYTES;

/// For all accounts together.
const OF_ALL_BYTES: usize = 32 * MAX_XML_BYTES;

/// Memory is counted in blocks, because the request of a small body takes memory too.
const BLOCK_BYTES: usize = 4096;

/// Query parameters of requests whose body is an object or a part. Any other request takes memory, which is at worst
/// too careful.
const STREAMED: &[&str] = &[
    "partNumber",
    "uploadId",
    "x-id",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
];

/// The memory for request bodies.
pub(super) struct Memory(Shares<String>);

impl Default for Memory {
    fn default() -> Self {
        Self(Shares::new(OF_ALL_BYTES))
    }
}

impl Memory {
    /// Takes memory for a request, which is returned by dropping it. `None` if too little is free.
    pub(super) fn take(&self, account: &str, bytes: usize) -> Option<Share<String>> {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let taken = self.0.try_take(account.to_owned(), bytes, OF_ACCOUNT_BYTES);
        taken.ok()
    }
}

/// The bytes that a request can make `s3s` hold: none if its body is streamed or absent, and never more than `s3s`
/// accepts.
pub(super) fn held_bytes(head: &Parts) -> usize {
    if streams(head) {
        return 0;
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        return MAX_XML_BYTES;
    }
    let stated = head.headers.get(CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok());
    let length = stated.map_or(Some(0), |length| length.parse().ok());
    length.map_or(MAX_XML_BYTES, |length: usize| length.min(MAX_XML_BYTES))
}

/// Whether a request is `PutObject` or `UploadPart`.
fn streams(head: &Parts) -> bool {
    let path = head.uri.path().trim_start_matches('/');
    let has_key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let is_known = |name: &str| {
        STREAMED.contains(&name)
            || name
                .get(..6)
                .is_some_and(|begin| begin.eq_ignore_ascii_case("x-amz-"))
    };
    head.method == Method::PUT
        && has_key
        && query_pairs(head.uri.query().unwrap_or_default()).all(|(name, _)| is_known(&name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn held(method: &str, target: &str, length: Option<&str>) -> usize {
        let request = Request::builder().method(method).uri(target);
        let request = match length {
            Some("chunked") => request.header(TRANSFER_ENCODING, "chunked"),
            Some(length) => request.header(CONTENT_LENGTH, length),
            None => request,
        };
        held_bytes(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_is_held_is_counted_and_what_streams_is_not() {
        for target in [
            "/b/k",
            "/b/k?partNumber=1&uploadId=u",
            "/b/k?X-Amz-Signature=s&x-id=PutObject",
        ] {
            assert_eq!(held("PUT", target, Some("5000000000")), 0, "{target}");
        }
        assert_eq!(held("POST", "/b?delete", Some("1000")), 1000);
        assert_eq!(
            held("POST", "/b/k?uploadId=u", Some("5000000000")),
            MAX_XML_BYTES
        );
        assert_eq!(held("POST", "/b?delete", Some("chunked")), MAX_XML_BYTES);
        assert_eq!(held("PUT", "/b", Some("200")), 200);
        assert_eq!(held("PUT", "/b/", Some("200")), 200);
        assert_eq!(held("PUT", "/b/k?tagging", Some("200")), 200);
        assert_eq!(held("GET", "/b", None), 0);
    }

    /// Finding M1: an account holds no more than its share, and leaves the others theirs.
    #[test]
    fn an_account_holds_no_more_than_its_share() {
        let memory = Memory::default();
        let mut taken: Vec<_> = (0..100)
            .map_while(|_| memory.take("greedy", MAX_XML_BYTES))
            .collect();
        assert_eq!(taken.len(), OF_ACCOUNT_BYTES / MAX_XML_BYTES);
        assert!(memory.take("greedy", 1).is_none());
        assert!(memory.take("greedy", 0).is_some());
        assert!(memory.take("other", MAX_XML_BYTES).is_some());
        taken.pop();
        assert!(memory.take("greedy", MAX_XML_BYTES).is_some());
    }
}
