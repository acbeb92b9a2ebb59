//! Operations on objects: read, write, copy, delete.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::SeekFrom;

use hearth_objects::{Attributes, NewObject, Object, ObjectCopy, ObjectError, ObjectStore};
use s3s::dto::{
    Checksum, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, Metadata, MetadataDirective, PutObjectInput,
    PutObjectOutput, StorageClass, StreamingBlob,
};
use s3s::{S3Request, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::conditions::{ReadConditions, condition, condition_of_headers};
use super::fault::internal;
use super::receive::{Stated, receive, stated};
use super::store::{AccountBuckets, check_key, now_ms, timestamp};

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Collects the standard headers of an input into [`Attributes`].
macro_rules! attributes {
    ($input:expr) => {{
        let headers = [
            ("cache-control", $input.cache_control.clone()),
            ("content-disposition", $input.content_disposition.clone()),
            ("content-encoding", $input.content_encoding.clone()),
            ("content-language", $input.content_language.clone()),
            ("content-type", $input.content_type.clone()),
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
        }
    }};
}
pub(super) use attributes;

async fn find(buckets: &AccountBuckets, bucket: &str, key: &str) -> S3Result<Object> {
    check_key(key)?;
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    buckets
        .with_store(move |store, account| store.object(account, &bucket, &key))
        .await
}

/// An object with its open file. The bytes stay readable even if the object is replaced or deleted.
pub(super) async fn open(
    buckets: &AccountBuckets,
    bucket: &str,
    key: &str,
) -> S3Result<(Object, File)> {
    check_key(key)?;
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    buckets
        .with_store(move |store, account| store.open_object(account, &bucket, &key))
        .await
}

fn metadata(object: &Object) -> Option<Metadata> {
    let metadata = &object.attributes.metadata;
    (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect())
}

fn checksums(headers: &BTreeMap<String, String>) -> Checksum {
    let header = |name: &str| headers.get(name).cloned();
    Checksum {
        checksum_crc32: header("x-amz-checksum-crc32"),
        checksum_crc32c: header("x-amz-checksum-crc32c"),
        checksum_crc64nvme: header("x-amz-checksum-crc64nvme"),
        checksum_sha1: header("x-amz-checksum-sha1"),
        checksum_sha256: header("x-amz-checksum-sha256"),
        ..Default::default()
    }
}

pub(super) async fn get_object(
    buckets: &AccountBuckets,
    request: S3Request<GetObjectInput>,
) -> S3Result<GetObjectOutput> {
    let input = request.input;
    let (object, file) = open(buckets, &input.bucket, &input.key).await?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&object)?;
    let range = match &input.range {
        Some(range) => range.check(object.size)?,
        None => 0..object.size,
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(range.start))
        .await
        .map_err(|error| internal(&error))?;
    let length = range.end - range.start;
    let stream = ReaderStream::with_capacity(file.take(length), CHUNK_BYTES);
    let content_range = input.range.map(|_| {
        format!(
            "bytes {}-{}/{}",
            range.start,
            range.end.saturating_sub(1),
            object.size
        )
    });
    let headers = &object.attributes.headers;
    let header = |name: &str| headers.get(name).cloned();
    // A checksum covers the whole object.
    let checksum = if content_range.is_none() {
        checksums(headers)
    } else {
        Checksum::default()
    };
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::wrap(stream)),
        cache_control: input
            .response_cache_control
            .or_else(|| header("cache-control")),
        content_disposition: input
            .response_content_disposition
            .or_else(|| header("content-disposition")),
        content_encoding: input
            .response_content_encoding
            .or_else(|| header("content-encoding")),
        content_language: input
            .response_content_language
            .or_else(|| header("content-language")),
        content_length: i64::try_from(length).ok(),
        content_range,
        content_type: input
            .response_content_type
            .or_else(|| header("content-type")),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: metadata(&object),
        ..Default::default()
    })
}

pub(super) async fn head_object(
    buckets: &AccountBuckets,
    request: S3Request<HeadObjectInput>,
) -> S3Result<HeadObjectOutput> {
    let input = request.input;
    let object = find(buckets, &input.bucket, &input.key).await?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&object)?;
    let header = |name: &str| object.attributes.headers.get(name).cloned();
    let checksum = checksums(&object.attributes.headers);
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: header("cache-control"),
        content_disposition: header("content-disposition"),
        content_encoding: header("content-encoding"),
        content_language: header("content-language"),
        content_length: i64::try_from(object.size).ok(),
        content_type: header("content-type"),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: metadata(&object),
        ..Default::default()
    })
}

/// Attributes of an object, without its bytes. The parts that it was joined from are not stored.
pub(super) async fn get_object_attributes(
    buckets: &AccountBuckets,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<GetObjectAttributesOutput> {
    let input = request.input;
    let object = find(buckets, &input.bucket, &input.key).await?;
    let is_asked = |name: &str| {
        // One header has all names, and `s3s` passes it on as it is.
        let asked = input.object_attributes.iter();
        let mut asked = asked.flat_map(|attributes| attributes.as_str().split(','));
        asked.any(|attribute| attribute.trim() == name)
    };
    let checksum = checksums(&object.attributes.headers);
    Ok(GetObjectAttributesOutput {
        checksum: is_asked("Checksum").then_some(checksum),
        e_tag: is_asked("ETag").then(|| ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified_ms)),
        object_size: is_asked("ObjectSize")
            .then(|| i64::try_from(object.size).ok())
            .flatten(),
        storage_class: is_asked("StorageClass")
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        ..Default::default()
    })
}

pub(super) async fn put_object(
    buckets: &AccountBuckets,
    request: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    let input = request.input;
    check_key(&input.key)?;
    buckets.check_bucket(&input.bucket).await?;
    let mut attributes = attributes!(input);
    let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref());
    let stated = stated!(input, request.trailing_headers);
    let mut blob = buckets.with_store(ObjectStore::new_blob).await?;
    let received = receive(input.body, &mut blob, stated).await?;
    let computed = [
        ("x-amz-checksum-crc32", &received.checksum.checksum_crc32),
        ("x-amz-checksum-crc32c", &received.checksum.checksum_crc32c),
        (
            "x-amz-checksum-crc64nvme",
            &received.checksum.checksum_crc64nvme,
        ),
        ("x-amz-checksum-sha1", &received.checksum.checksum_sha1),
        ("x-amz-checksum-sha256", &received.checksum.checksum_sha256),
    ];
    let computed = computed
        .into_iter()
        .filter_map(|(name, sum)| Some((name.to_owned(), sum.clone()?)));
    attributes.headers.extend(computed);
    let etag = crate::sigv4::hex(&received.md5);
    let object = NewObject {
        blob,
        size: received.size,
        etag: etag.clone(),
        attributes,
    };
    let (bucket, key) = (input.bucket, input.key);
    buckets
        .with_store(move |store, account| {
            store.put(account, &bucket, &key, object, &condition, now_ms())
        })
        .await?;
    Ok(PutObjectOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: received.checksum.checksum_crc32,
        checksum_crc32c: received.checksum.checksum_crc32c,
        checksum_crc64nvme: received.checksum.checksum_crc64nvme,
        checksum_sha1: received.checksum.checksum_sha1,
        checksum_sha256: received.checksum.checksum_sha256,
        ..Default::default()
    })
}

pub(super) async fn copy_object(
    buckets: &AccountBuckets,
    request: S3Request<CopyObjectInput>,
) -> S3Result<CopyObjectOutput> {
    let input = request.input;
    check_key(&input.key)?;
    let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
        return Err(s3_error!(NotImplemented));
    };
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match.clone(),
        if_none_match: input.copy_source_if_none_match.clone(),
        if_modified_since: input.copy_source_if_modified_since.clone(),
        if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
    };
    let condition = condition_of_headers(&request.headers)?;
    let directive = input
        .metadata_directive
        .as_ref()
        .map(MetadataDirective::as_str);
    let attributes = (directive == Some(MetadataDirective::REPLACE)).then(|| attributes!(input));
    let (source_bucket, source_key) = (bucket.to_string(), key.to_string());
    let (bucket, key) = (input.bucket, input.key);
    let modified_ms = now_ms();
    let copied = buckets
        .with_store(move |store, account| {
            let copy = ObjectCopy {
                source: (&source_bucket, &source_key),
                target: (&bucket, &key),
                attributes,
                condition,
            };
            // Both cases get the same answer: there is nothing that the client could have already.
            let judge = move |source: &Object| {
                let judged = conditions.judge(source);
                judged.map_err(|_| ObjectError::ConditionFailed)
            };
            store.copy(account, copy, judge, modified_ms)
        })
        .await?;
    let etag = copied.etag;
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(etag)),
        last_modified: Some(timestamp(modified_ms)),
        ..Default::default()
    };
    Ok(CopyObjectOutput {
        copy_object_result: Some(result),
        ..Default::default()
    })
}

pub(super) async fn delete_object(
    buckets: &AccountBuckets,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<DeleteObjectOutput> {
    let condition = condition(request.input.if_match.as_ref(), None);
    let (bucket, key) = (request.input.bucket, request.input.key);
    buckets
        .with_store(move |store, account| store.delete_if(account, &bucket, &key, &condition))
        .await?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn delete_objects(
    buckets: &AccountBuckets,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let input = request.input;
    let is_quiet = input.delete.quiet.unwrap_or(false);
    let keys: Vec<_> = input
        .delete
        .objects
        .into_iter()
        .map(|object| object.key)
        .collect();
    let bucket = input.bucket;
    let deleted = buckets
        .with_store(move |store, account| {
            keys.iter()
                .try_for_each(|key| store.delete(account, &bucket, key))?;
            Ok(keys)
        })
        .await?;
    let deleted = deleted.into_iter().map(|key| DeletedObject {
        key: Some(key),
        ..Default::default()
    });
    Ok(DeleteObjectsOutput {
        deleted: (!is_quiet).then(|| deleted.collect()),
        ..Default::default()
    })
}
