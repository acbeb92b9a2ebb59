//! Copies a part of an upload from an object: how the SDKs copy large objects.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use hearth_objects::{MultipartUpload, NewBlob, ObjectError};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{CopyPartResult, CopySource, ETag, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Result, s3_error};

use super::checksums::{self, Algorithm};
use super::conditions::ReadConditions;
use super::multipart::check_number;
use super::store::{AccountBuckets, check_key, now_ms, timestamp};

/// Largest part (S3's own bound).
const MAX_PART_BYTES: u64 = 5 << 30;

/// Bytes copied at once.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) async fn upload_part_copy(
    buckets: &AccountBuckets,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<UploadPartCopyOutput> {
    let input = request.input;
    let number = check_number(input.part_number)?;
    check_key(&input.key)?;
    let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
        return Err(s3_error!(NotImplemented));
    };
    let (source, file) = buckets.open(bucket, key).await?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let judged = conditions.judge(&source);
    judged.map_err(|_| s3_error!(PreconditionFailed))?;
    let range = range(input.copy_source_range.as_deref(), source.size)?;
    if range.end - range.start > MAX_PART_BYTES {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        ));
    }
    let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
    let modified_ms = now_ms();
    let etag = buckets
        .with_store_for_long(move |store, account| {
            let upload = MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            };
            // Checked before the bytes are copied: the upload may have ended.
            let begun = store.upload_attributes(upload)?;
            let mut blob = store.new_blob(account)?;
            let size = range.end - range.start;
            let algorithm = checksums::of_upload(&begun).map(|(algorithm, _)| algorithm);
            let (etag, checksum) = copy(file, range, &mut blob, algorithm)?;
            store.put_part(
                upload,
                number,
                blob,
                size,
                (&*etag, &*checksum),
                modified_ms,
            )?;
            Ok(etag)
        })
        .await?;
    let result = CopyPartResult {
        e_tag: Some(ETag::Strong(etag)),
        last_modified: Some(timestamp(modified_ms)),
        ..Default::default()
    };
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..Default::default()
    })
}

/// Copies bytes of a file into a blob. Returns their MD5 digest.
fn copy(
    mut source: File,
    range: Range<u64>,
    blob: &mut NewBlob,
    algorithm: Option<Algorithm>,
) -> Result<(String, String), ObjectError> {
    blob.take(range.end - range.start)?;
    source.seek(SeekFrom::Start(range.start))?;
    let mut source = source.take(range.end - range.start);
    let mut target = File::create(blob.path())?;
    let mut hasher = Algorithm::hasher(|known| Some(known) == algorithm);
    let (mut md5, mut chunk) = (Md5::new(), vec![0; CHUNK_BYTES]);
    loop {
        let length = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let bytes = &chunk[..length];
        md5.update(bytes);
        hasher.update(bytes);
        target.write_all(bytes)?;
    }
    target.sync_all()?;
    let sums = hasher.finalize();
    let checksum = algorithm.and_then(|algorithm| algorithm.of(&sums).cloned());
    Ok((
        crate::sigv4::hex(&md5.finalize()),
        checksum.unwrap_or_default(),
    ))
}

/// The byte range of a request: `bytes=first-last`, both within the object. The whole object if the header is absent.
fn range(named: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(named) = named else {
        return Ok(0..size);
    };
    let bad = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
        )
    };
    let (first, last) = named
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .ok_or_else(bad)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(bad());
    }
    if last >= size {
        return Err(s3_error!(
            InvalidArgument,
            "Range specified is not valid for source object of size: {}",
            size
        ));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_names_bytes_that_there_are() {
        assert_eq!(range(None, 10).unwrap(), 0..10);
        assert_eq!(range(Some("bytes=0-9"), 10).unwrap(), 0..10);
        assert_eq!(range(Some("bytes=3-3"), 10).unwrap(), 3..4);
        for bad in [
            "bytes=0-10",
            "bytes=5-4",
            "bytes=-5",
            "bytes=5-",
            "0-5",
            "bytes=0-18446744073709551615",
        ] {
            assert!(range(Some(bad), 10).is_err(), "{bad}");
        }
    }
}
