//! Parses the requests that a builder may send to a registry: manifests and blobs, by unambiguous paths (OCI
//! distribution specification, "Endpoints").

/// Longest name of a repository, as registries have it.
const MAX_REPOSITORY_BYTES: usize = 255;

/// Longest tag.
const MAX_TAG_BYTES: usize = 128;

/// Longest digest: that of SHA-512 has 135 bytes.
const MAX_DIGEST_BYTES: usize = 160;

/// The resource of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// `/v2/`: whether this is a registry.
    Version,
    /// Something of a repository.
    Content(Content<'a>),
}

/// A manifest or a blob.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content<'a> {
    /// Index of the registry, from `r0`.
    pub(super) registry: usize,
    /// Name of the repository.
    pub(super) repository: &'a str,
    /// `manifests` or `blobs`.
    kind: &'a str,
    /// Tag or digest.
    reference: &'a str,
}

impl<'a> Wanted<'a> {
    /// Reads a path. `None` if it asks for anything else, or is spelled in a way that a registry might read
    /// differently: with escapes, empty parts or dots.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2/")?;
        if rest.is_empty() {
            return Some(Self::Version);
        }
        let (registry, rest) = rest.split_once('/')?;
        let (rest, reference) = rest.rsplit_once('/')?;
        let (repository, kind) = rest.rsplit_once('/')?;
        let is_reference = match kind {
            "manifests" => is_tag(reference) || is_digest(reference),
            "blobs" => is_digest(reference),
            _ => false,
        };
        if !is_reference || !is_repository(repository) {
            return None;
        }
        Some(Self::Content(Content {
            registry: registry.strip_prefix('r')?.parse().ok()?,
            repository,
            kind,
            reference,
        }))
    }
}

impl Content<'_> {
    /// The path at the registry.
    pub(super) fn path(&self) -> String {
        format!("/v2/{}/{}/{}", self.repository, self.kind, self.reference)
    }
}

/// Whether this names a repository: parts of letters, digits and single marks between them.
pub(super) fn is_repository(text: &str) -> bool {
    let is_mark = |byte: u8| matches!(byte, b'.' | b'_' | b'-');
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        ends.is_some_and(|(first, last)| is_plain(*first) && is_plain(*last))
            && bytes.iter().all(|byte| is_plain(*byte) || is_mark(*byte))
            && !part.contains("..")
    };
    text.len() <= MAX_REPOSITORY_BYTES && text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_inner = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-');
    let bytes = text.as_bytes();
    text.len() <= MAX_TAG_BYTES
        && bytes.first().is_some_and(|first| is_word(*first))
        && bytes.iter().all(|byte| is_inner(*byte))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, digest)) = text.split_once(':') else {
        return false;
    };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_DIGEST_BYTES
        && !algorithm.is_empty()
        && algorithm.bytes().all(is_name)
        && digest.len() >= 32
        && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn manifests_and_blobs_are_read() {
        assert_eq!(Wanted::parse("/v2/"), Some(Wanted::Version));
        for (path, registry, repository, above) in [
            (
                "/v2/r0/tool/manifests/1.0",
                0,
                "tool",
                "/v2/tool/manifests/1.0",
            ),
            (
                "/v2/r12/a/b-c/d__e/manifests/_x",
                12,
                "a/b-c/d__e",
                "/v2/a/b-c/d__e/manifests/_x",
            ),
            (
                "/v2/r1/blobs/manifests/blobs",
                1,
                "blobs",
                "/v2/blobs/manifests/blobs",
            ),
        ] {
            let Some(Wanted::Content(content)) = Wanted::parse(path) else {
                panic!("{path}");
            };
            assert_eq!(
                (content.registry, content.repository),
                (registry, repository)
            );
            assert_eq!(content.path(), above);
        }
        for kind in ["manifests", "blobs"] {
            assert!(Wanted::parse(&format!("/v2/r0/team/tool/{kind}/{DIGEST}")).is_some());
        }
    }

    #[test]
    fn nothing_else_is() {
        for path in [
            "",
            "/",
            "/v2",
            "/v1/",
            "/v2/_catalog",
            "/v2/r0/manifests/1.0",
            "/v2/r0//manifests/1.0",
            "/v2/tool/manifests/1.0",
            "/v2/r-1/tool/manifests/1.0",
            "/v2/r0/../manifests/1.0",
            "/v2/r0/a/../b/manifests/1.0",
            "/v2/r0/a/./b/manifests/1.0",
            "/v2/r0/a..b/manifests/1.0",
            "/v2/r0/a%2fb/manifests/1.0",
            "/v2/r0/A/manifests/1.0",
            "/v2/r0/a/manifests/..",
            "/v2/r0/a/manifests/",
            "/v2/r0/a/manifests/1%2e0",
            "/v2/r0/a/blobs/1.0",
            "/v2/r0/a/blobs/sha256:12",
            "/v2/r0/a/blobs/uploads/",
            "/v2/r0/a/tags/list",
            "/v2/r0/a@b/manifests/1.0",
        ] {
            assert_eq!(Wanted::parse(path), None, "{path}");
        }
        let long = "a/".repeat(128);
        assert_eq!(Wanted::parse(&format!("/v2/r0/{long}a/manifests/1")), None);
    }
}
