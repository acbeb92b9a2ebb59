//! Multipart uploads.

use hearth_objects::{MAX_PARTS, MultipartUpload, ObjectStore};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Checksum, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag,
    ListPartsInput, ListPartsOutput, Part, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::conditions::condition;
use super::objects::attributes;
use super::receive::{Stated, receive, stated};
use super::store::{AccountBuckets, check_key, now_ms, timestamp};
use hearth_objects::Attributes;

pub(super) async fn create_multipart_upload(
    buckets: &AccountBuckets,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let input = request.input;
    check_key(&input.key)?;
    let attributes = attributes!(input);
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let id = buckets
        .with_store(move |store, account| {
            store.create_upload(account, &bucket, &key, &attributes, now_ms())
        })
        .await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..Default::default()
    })
}

pub(super) async fn upload_part(
    buckets: &AccountBuckets,
    request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let input = request.input;
    let number = check_number(input.part_number)?;
    let stated = stated!(input, request.trailing_headers);
    let mut blob = buckets.with_store(ObjectStore::new_blob).await?;
    let received = receive(input.body, &mut blob, stated).await?;
    let etag = crate::sigv4::hex(&received.md5);
    let (bucket, key, id, part_etag) = (input.bucket, input.key, input.upload_id, etag.clone());
    buckets
        .with_store(move |store, account| {
            let upload = MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            };
            store.put_part(upload, number, blob, received.size, &part_etag, now_ms())
        })
        .await?;
    Ok(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: received.checksum.checksum_crc32,
        checksum_crc32c: received.checksum.checksum_crc32c,
        checksum_crc64nvme: received.checksum.checksum_crc64nvme,
        checksum_sha1: received.checksum.checksum_sha1,
        checksum_sha256: received.checksum.checksum_sha256,
        ..Default::default()
    })
}

pub(super) fn check_number(number: i32) -> S3Result<i32> {
    if (1..=MAX_PARTS).contains(&number) {
        return Ok(number);
    }
    Err(s3_error!(
        InvalidArgument,
        "Part number must be an integer between 1 and 10000, inclusive"
    ))
}

pub(super) async fn list_parts(
    buckets: &AccountBuckets,
    request: S3Request<ListPartsInput>,
) -> S3Result<ListPartsOutput> {
    let input = request.input;
    let (bucket, key, id) = (
        input.bucket.clone(),
        input.key.clone(),
        input.upload_id.clone(),
    );
    let parts = buckets
        .with_store(move |store, account| {
            store.parts(MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            })
        })
        .await?;
    let parts = parts.into_iter().map(|part| Part {
        part_number: Some(part.number),
        size: i64::try_from(part.size).ok(),
        e_tag: Some(ETag::Strong(part.etag)),
        last_modified: Some(timestamp(part.modified_ms)),
        ..Default::default()
    });
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(false),
        parts: Some(parts.collect()),
        ..Default::default()
    })
}

pub(super) async fn complete_multipart_upload(
    buckets: &AccountBuckets,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let input = request.input;
    let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref());
    let named = input
        .multipart_upload
        .and_then(|upload| upload.parts)
        .unwrap_or_default();
    let named: Vec<_> = named
        .into_iter()
        .map(|part| Some((part.part_number?, part.e_tag?.value().to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| s3_error!(InvalidPart))?;
    let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id);
    let (etag, _) = buckets
        .with_store_for_long(move |store, account| {
            let upload = MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            };
            store.complete_upload(upload, &named, join_etags, &condition, now_ms())
        })
        .await?;
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(etag)),
        ..Default::default()
    })
}

pub(super) async fn abort_multipart_upload(
    buckets: &AccountBuckets,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let (bucket, key, id) = (
        request.input.bucket,
        request.input.key,
        request.input.upload_id,
    );
    buckets
        .with_store(move |store, account| {
            store.abort_upload(MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            })
        })
        .await?;
    Ok(AbortMultipartUploadOutput::default())
}

/// The entity tag of a joined object: the digest of its parts' digests, and the number of parts.
fn join_etags(etags: &[String]) -> String {
    let mut md5 = Md5::new();
    for etag in etags {
        let bytes: Vec<u8> = (0..etag.len())
            .step_by(2)
            .filter_map(|at| u8::from_str_radix(etag.get(at..at + 2)?, 16).ok())
            .collect();
        md5.update(&bytes);
    }
    format!("{}-{}", crate::sigv4::hex(&md5.finalize()), etags.len())
}
