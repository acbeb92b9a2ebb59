//! What is kept of an object besides its bytes: which headers of a request, and in which form.

use s3s::dto::{StorageClass, Timestamp, TimestampFormat};

/// Collects the standard headers of an input into [`Attributes`].
macro_rules! attributes {
    ($input:expr) => {{
        let headers = [
            ("cache-control", $input.cache_control.clone()),
            ("content-disposition", $input.content_disposition.clone()),
            (
                "content-encoding",
                kept_encoding($input.content_encoding.as_deref()),
            ),
            ("content-language", $input.content_language.clone()),
            ("content-type", $input.content_type.clone()),
            ("expires", $input.expires.as_ref().and_then(http_date)),
            (
                SSE,
                $input
                    .server_side_encryption
                    .as_ref()
                    .map(|kind| kind.as_str().to_owned()),
            ),
            (STORAGE_CLASS, kept_class($input.storage_class.as_ref())),
        ];
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Attributes {
            headers: headers.collect(),
            metadata: $input
                .metadata
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            tags: tags::of_header($input.tagging.as_deref())?,
        }
    }};
}
pub(super) use attributes;

/// The header that says with which keys an object is encrypted; `admission` lets `AES256` pass.
pub(super) const SSE: &str = "x-amz-server-side-encryption";

/// The header of an object's storage class, kept of those that are not the usual one.
pub(super) const STORAGE_CLASS: &str = "x-amz-storage-class";

/// An object's encoding: `aws-chunked` is that of the request alone.
pub(super) fn kept_encoding(header: Option<&str>) -> Option<String> {
    let encodings = header?.split(',').map(str::trim);
    let kept: Vec<_> = encodings
        .filter(|encoding| !encoding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    let kept = kept.join(", ");
    (!kept.is_empty()).then_some(kept)
}

/// The storage class that is kept of an object: none of the usual one.
pub(super) fn kept_class(class: Option<&StorageClass>) -> Option<String> {
    let class = class.map(StorageClass::as_str);
    class
        .filter(|class| *class != StorageClass::STANDARD)
        .map(str::to_owned)
}

/// A moment as HTTP writes it.
pub(super) fn http_date(moment: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    moment.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}
