//! The canonical request: what both sides hash.

use http::request::Parts;

use crate::uri::{canonical_query, encode};

pub(super) struct CanonicalRequest<'a> {
    pub(super) head: &'a Parts,
    pub(super) signed_headers: &'a [String],
    pub(super) payload_hash: &'a str,
    /// A presigned query carries its own signature, which cannot sign itself.
    pub(super) is_presigned: bool,
}

impl CanonicalRequest<'_> {
    /// The text to hash, or nothing when a signed header did not arrive.
    pub(super) fn render(&self) -> Option<String> {
        let mut headers = String::new();
        for name in self.signed_headers {
            headers.push_str(name);
            headers.push(':');
            headers.push_str(&self.header(name)?);
            headers.push('\n');
        }
        Some(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.head.method,
            canonical_path(self.head.uri.path()),
            self.canonical_query(),
            self.signed_headers.join(";"),
            self.payload_hash
        ))
    }

    fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .head
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().map(collapse_spaces))
            .collect::<Result<_, _>>()
            .ok()?;
        if !values.is_empty() {
            return Some(values.join(","));
        }
        // HTTP/2 has the host in `:authority`.
        let authority = self.head.uri.authority().filter(|_| name == "host")?;
        Some(authority.as_str().to_owned())
    }

    fn canonical_query(&self) -> String {
        canonical_query(self.head.uri.query().unwrap_or_default(), |name| {
            !(self.is_presigned && name == "X-Amz-Signature")
        })
    }
}

/// Every service but S3 signs the path encoded once more, with empty and dot segments removed.
fn canonical_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(encode(other)),
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", segments.join("/"))
}

fn collapse_spaces(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}
