//! Receives a body into a new blob, and computes every digest that the client has stated.

use futures_util::StreamExt;
use hearth_objects::NewBlob;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Result, TrailingHeaders, s3_error};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::fault::{internal, refused};

/// Largest object of one request (S3's own bound).
const MAX_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// The size and digests of a received body.
pub(super) struct Received {
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Checksum,
}

/// The digests that the client stated: in headers, and in trailers after the body.
pub(super) struct Stated {
    pub(super) content_md5: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) checksum: Checksum,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// Collects what an input states of its body into [`Stated`].
macro_rules! stated {
    ($input:expr, $trailers:expr) => {{
        let algorithm = $input.checksum_algorithm.as_ref();
        Stated {
            content_md5: $input.content_md5.clone(),
            algorithm: algorithm.map(|algorithm| algorithm.as_str().to_owned()),
            checksum: Checksum {
                checksum_crc32: $input.checksum_crc32.clone(),
                checksum_crc32c: $input.checksum_crc32c.clone(),
                checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
                checksum_sha1: $input.checksum_sha1.clone(),
                checksum_sha256: $input.checksum_sha256.clone(),
                ..Default::default()
            },
            trailers: $trailers,
        }
    }};
}
pub(super) use stated;

/// Writes a body into `blob` and syncs it. No object refers to the blob yet, so a body that ends early or does not
/// match its stated digests leaves no object.
pub(super) async fn receive(
    body: Option<StreamingBlob>,
    blob: &mut NewBlob,
    stated: Stated,
) -> S3Result<Received> {
    let mut hasher = hasher(&stated);
    let mut md5 = Md5::new();
    let mut size = 0;
    let file = File::create(blob.path())
        .await
        .map_err(|error| internal(&error))?;
    let mut file = BufWriter::new(file);
    let mut body = body;
    while let Some(bytes) = next(&mut body).await? {
        size += bytes.len() as u64;
        if size > MAX_BYTES {
            return Err(s3_error!(EntityTooLarge));
        }
        blob.take(bytes.len() as u64).map_err(refused)?;
        md5.update(&bytes);
        hasher.update(&bytes);
        file.write_all(&bytes)
            .await
            .map_err(|error| internal(&error))?;
    }
    file.flush().await.map_err(|error| internal(&error))?;
    file.get_ref()
        .sync_all()
        .await
        .map_err(|error| internal(&error))?;
    let received = Received {
        size,
        md5: md5.finalize(),
        checksum: hasher.finalize(),
    };
    check(stated, &received)?;
    Ok(received)
}

async fn next(body: &mut Option<StreamingBlob>) -> S3Result<Option<bytes::Bytes>> {
    let Some(body) = body else { return Ok(None) };
    body.next().await.transpose().map_err(|error| {
        tracing::debug!(error, "an upload broke off");
        s3_error!(IncompleteBody, "The request body terminated unexpectedly")
    })
}

/// A hasher for the stated digests and those announced for the trailer.
fn hasher(stated: &Stated) -> ChecksumHasher {
    let is_wanted = |name: &str, value: &Option<String>| {
        value.is_some() || stated.algorithm.as_deref() == Some(name)
    };
    let Checksum {
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_sha1,
        checksum_sha256,
        ..
    } = &stated.checksum;
    ChecksumHasher {
        crc32: is_wanted("CRC32", checksum_crc32).then(Default::default),
        crc32c: is_wanted("CRC32C", checksum_crc32c).then(Default::default),
        crc64nvme: is_wanted("CRC64NVME", checksum_crc64nvme).then(Default::default),
        sha1: is_wanted("SHA1", checksum_sha1).then(Default::default),
        sha256: is_wanted("SHA256", checksum_sha256).then(Default::default),
    }
}

fn check(stated: Stated, received: &Received) -> S3Result<()> {
    if let Some(content_md5) = stated.content_md5 {
        let computed = base64_simd::STANDARD.encode_to_string(received.md5);
        if computed != content_md5 {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
    }
    let trailers = stated
        .trailers
        .and_then(|trailers| trailers.take())
        .unwrap_or_default();
    let computed = &received.checksum;
    let pairs = [
        (
            "x-amz-checksum-crc32",
            stated.checksum.checksum_crc32,
            &computed.checksum_crc32,
        ),
        (
            "x-amz-checksum-crc32c",
            stated.checksum.checksum_crc32c,
            &computed.checksum_crc32c,
        ),
        (
            "x-amz-checksum-crc64nvme",
            stated.checksum.checksum_crc64nvme,
            &computed.checksum_crc64nvme,
        ),
        (
            "x-amz-checksum-sha1",
            stated.checksum.checksum_sha1,
            &computed.checksum_sha1,
        ),
        (
            "x-amz-checksum-sha256",
            stated.checksum.checksum_sha256,
            &computed.checksum_sha256,
        ),
    ];
    for (name, header, computed) in pairs {
        let trailer = trailers.get(name).and_then(|value| value.to_str().ok());
        let stated = trailer.map(str::to_owned).or(header);
        if stated.is_some() && computed.is_some() && stated != *computed {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                name
            ));
        }
    }
    Ok(())
}
