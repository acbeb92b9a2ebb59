//! Multipart uploads.

use std::collections::BTreeMap;

use hearth_objects::{Attributes, MAX_PARTS, MultipartUpload, ObjectStore};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Checksum, ChecksumAlgorithm,
    ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, Initiator, ListPartsInput,
    ListPartsOutput, Owner, Part, ServerSideEncryption, StorageClass, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::acl;
use super::checksums::{self, PartsJoiner, StatedOfUpload};
use super::conditions::condition;
use super::description::{SSE, STORAGE_CLASS, attributes, http_date, kept_class, kept_encoding};

use super::receive::{Stated, receive, stated};
use super::store::{AccountBuckets, check_key, now_ms, timestamp};
use super::tags;

/// Parts in one answer (S3's own bound).
const MAX_LISTED: i32 = 1000;

pub(super) async fn create_multipart_upload(
    buckets: &AccountBuckets,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let input = request.input;
    check_key(&input.key)?;
    let mut attributes = attributes!(input);
    let algorithm = input.checksum_algorithm.as_ref();
    let kind = input.checksum_type.as_ref();
    let checksums = checksums::begin(
        &mut attributes,
        algorithm.map(ChecksumAlgorithm::as_str),
        kind.map(ChecksumType::as_str),
    )?;
    let encryption = attributes.headers.get(SSE).cloned();
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
        checksum_algorithm: checksums
            .map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksums.map(|(_, kind)| ChecksumType::from_static(kind)),
        server_side_encryption: encryption.map(ServerSideEncryption::from),
        ..Default::default()
    })
}

/// What was said of an upload when it began. Looked up before a part is received: the upload may be over.
async fn begun(
    buckets: &AccountBuckets,
    (bucket, key, id): (&str, &str, &str),
) -> S3Result<Attributes> {
    let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), id.to_owned());
    buckets
        .with_store(move |store, account| {
            store.upload_attributes(MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            })
        })
        .await
}

pub(super) async fn upload_part(
    buckets: &AccountBuckets,
    request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let input = request.input;
    let number = check_number(input.part_number)?;
    let place = (&*input.bucket, &*input.key, &*input.upload_id);
    let begun = begun(buckets, place).await?;
    let wanted = checksums::of_upload(&begun).map(|(algorithm, _)| algorithm);
    let mut stated = stated!(input, request.trailing_headers);
    stated.also = wanted;
    let mut blob = buckets.with_store(ObjectStore::new_blob).await?;
    let received = receive(input.body, &mut blob, stated).await?;
    let etag = crate::sigv4::hex(&received.md5);
    let checksum = wanted.and_then(|algorithm| algorithm.of(&received.checksum).cloned());
    let checksum = checksum.unwrap_or_default();
    let (bucket, key, id, part_etag) = (input.bucket, input.key, input.upload_id, etag.clone());
    buckets
        .with_store(move |store, account| {
            let upload = MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            };
            let told = (&*part_etag, &*checksum);
            store.put_part(upload, number, blob, received.size, told, now_ms())
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
    let (begun, parts) = buckets
        .with_store(move |store, account| {
            let upload = MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            };
            Ok((store.upload_attributes(upload)?, store.parts(upload)?))
        })
        .await?;
    let from = input.part_number_marker.unwrap_or_default();
    let most = input.max_parts.unwrap_or(MAX_LISTED).clamp(0, MAX_LISTED);
    let mut parts: Vec<_> = parts
        .into_iter()
        .filter(|part| part.number > from)
        .collect();
    let length = usize::try_from(most).unwrap_or_default();
    let is_truncated = parts.len() > length;
    parts.truncate(length);
    let next = parts.last().map(|part| part.number);
    let kind = checksums::of_upload(&begun);
    let parts = parts.into_iter().map(|part| {
        let told = kind.filter(|_| !part.checksum.is_empty());
        let checksum = told.map(|(algorithm, _)| algorithm.only(Some(part.checksum.clone())));
        let checksum = checksum.unwrap_or_default();
        Part {
            part_number: Some(part.number),
            size: i64::try_from(part.size).ok(),
            e_tag: Some(ETag::Strong(part.etag)),
            last_modified: Some(timestamp(part.modified_ms)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
        }
    });
    let owner = acl::owner(buckets.account());
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(is_truncated),
        max_parts: Some(most),
        part_number_marker: Some(from),
        next_part_number_marker: next,
        parts: Some(parts.collect()),
        checksum_algorithm: kind
            .map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: kind.map(|(_, kind)| ChecksumType::from(kind.to_owned())),
        initiator: Some(initiator(&owner)),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..Default::default()
    })
}

/// Who began an upload: the account, as everything in it.
pub(super) fn initiator(owner: &Owner) -> Initiator {
    Initiator {
        display_name: owner.display_name.clone(),
        id: owner.id.clone(),
    }
}

pub(super) async fn complete_multipart_upload(
    buckets: &AccountBuckets,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let input = request.input;
    let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref());
    let parts = input.multipart_upload.and_then(|upload| upload.parts);
    let mut named = Vec::new();
    let mut stated = StatedOfUpload {
        whole: Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        },
        parts: BTreeMap::new(),
    };
    for part in parts.unwrap_or_default() {
        let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
            return Err(s3_error!(InvalidPart));
        };
        named.push((number, etag.value().to_owned()));
        let checksum = Checksum {
            checksum_crc32: part.checksum_crc32,
            checksum_crc32c: part.checksum_crc32c,
            checksum_crc64nvme: part.checksum_crc64nvme,
            checksum_sha1: part.checksum_sha1,
            checksum_sha256: part.checksum_sha256,
            checksum_type: None,
        };
        stated.parts.insert(number, checksum);
    }
    let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id);
    let completed = buckets
        .with_store_for_long(move |store, account| {
            let upload = MultipartUpload {
                account,
                bucket: &bucket,
                key: &key,
                id: &id,
            };
            let joiner = |begun: &Attributes| PartsJoiner::new(stated.clone(), begun);
            store.complete_upload(upload, &named, joiner, &condition, now_ms())
        })
        .await?;
    let headers = completed.attributes.headers;
    let checksum = checksums::read(&headers);
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(completed.etag)),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        checksum_type: checksum.checksum_type,
        server_side_encryption: headers.get(SSE).cloned().map(ServerSideEncryption::from),
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
