//! The canonical request, which signer and verifier hash.

use http::request::Parts;

use crate::uri::{canonical_query, encode};

/// A request and the parts of it that are signed.
pub struct CanonicalRequest<'a> {
    /// Method, address and headers.
    pub head: &'a Parts,
    /// Names of the signed headers, in lower case and sorted.
    pub signed_headers: &'a [String],
    /// The hash of the body, or the constant in its place.
    pub payload_hash: &'a str,
    /// A presigned query carries its own signature, which cannot sign itself.
    pub is_presigned: bool,
    /// How the service signs paths.
    pub path: PathForm,
}

/// How a service signs paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// S3: as it was sent, because a key may have empty and dot segments.
    AsSent,
    /// All others: encoded once more, with empty and dot segments removed.
    Normalized,
}

impl PathForm {
    /// The form of a service, by its signing name.
    #[must_use]
    pub fn of(service: &str) -> Self {
        if service == "s3" {
            Self::AsSent
        } else {
            Self::Normalized
        }
    }
}

impl CanonicalRequest<'_> {
    /// The text to hash; `None` if a signed header is missing.
    #[must_use]
    pub fn render(&self) -> Option<String> {
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
            self.canonical_path(),
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

    fn canonical_path(&self) -> String {
        let path = self.head.uri.path();
        match self.path {
            PathForm::AsSent => path.to_owned(),
            PathForm::Normalized => normalized(path),
        }
    }

    fn canonical_query(&self) -> String {
        canonical_query(self.head.uri.query().unwrap_or_default(), |name| {
            !(self.is_presigned && name == "X-Amz-Signature")
        })
    }
}

fn normalized(path: &str) -> String {
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
