//! Operations on objects: read, write, copy, delete.

use std::io::SeekFrom;
use std::ops::Range;

use hearth_objects::{Attributes, NewObject, Object, ObjectCopy, ObjectError, ObjectStore};
use s3s::dto::{
    Checksum, ChecksumMode, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETag, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Metadata,
    MetadataDirective, PutObjectInput, PutObjectOutput, ServerSideEncryption, StorageClass,
    StreamingBlob, TaggingDirective, Timestamp, TimestampFormat,
};
use s3s::{S3Request, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::checksums;
use super::conditions::{ReadConditions, condition, condition_of_headers};
use super::description::{SSE, STORAGE_CLASS, attributes, http_date, kept_class, kept_encoding};
use super::fault::{internal, refused};
use super::found::Found;
use super::receive::{Stated, receive, stated};
use super::rights;
use super::store::{AccountBuckets, check_key, now_ms, timestamp};
use super::tags;

/// Parts in one answer about an object (S3's own bound).
const MAX_LISTED_PARTS: i32 = 1000;

/// Keys in one request that deletes (S3's own bound).
const MAX_DELETED: usize = 1000;

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

fn moment(object: &Object, name: &str) -> Option<Timestamp> {
    let text = object.attributes.headers.get(name)?;
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

fn tag_count(object: &Object) -> Option<i32> {
    let count = i32::try_from(object.attributes.tags.len()).ok();
    count.filter(|count| *count > 0)
}

fn encryption(object: &Object) -> Option<ServerSideEncryption> {
    let kind = object.attributes.headers.get(SSE);
    kind.cloned().map(ServerSideEncryption::from)
}

fn storage_class(object: &Object) -> Option<StorageClass> {
    let class = object.attributes.headers.get(STORAGE_CLASS);
    class.cloned().map(StorageClass::from)
}

/// The bytes of an object's part, and its checksum.
struct PartOf {
    bytes: Range<u64>,
    checksum: Checksum,
}

/// Finds a part. An object that came whole has one.
fn part(object: &Object, number: i32, whole: &Checksum) -> S3Result<PartOf> {
    if object.parts.is_empty() && number == 1 {
        return Ok(PartOf {
            bytes: 0..object.size,
            checksum: whole.clone(),
        });
    }
    let mut start = 0;
    for part in &object.parts {
        let end = start + part.size;
        if part.number == number {
            return Ok(PartOf {
                bytes: start..end,
                checksum: checksums::of_part(whole, &part.checksum),
            });
        }
        start = end;
    }
    Err(refused(ObjectError::NoPart))
}

fn parts_count(object: &Object, number: Option<i32>) -> Option<i32> {
    let count = i32::try_from(object.parts.len()).ok();
    number.and(count).filter(|count| *count > 0)
}

fn metadata(object: &Object) -> Option<Metadata> {
    let metadata = &object.attributes.metadata;
    (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect())
}

pub(super) async fn get_object(
    buckets: &AccountBuckets,
    request: S3Request<GetObjectInput>,
) -> S3Result<GetObjectOutput> {
    let input = request.input;
    let (object, file) = buckets.open(&input.bucket, &input.key).await?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&object)?;
    let whole = checksums::read(&object.attributes.headers);
    let (range, checksum) = match (&input.range, input.part_number) {
        (Some(_), Some(_)) => {
            return Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            ));
        }
        // A checksum is of the whole object.
        (Some(range), None) => (range.check(object.size)?, Checksum::default()),
        (None, Some(number)) => {
            let part = part(&object, number, &whole)?;
            (part.bytes, part.checksum)
        }
        (None, None) => (0..object.size, whole),
    };
    let checksum = if is_asked(input.checksum_mode.as_ref()) {
        checksum
    } else {
        Checksum::default()
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(range.start))
        .await
        .map_err(|error| internal(&error))?;
    let length = range.end - range.start;
    let stream = ReaderStream::with_capacity(file.take(length), CHUNK_BYTES);
    let is_in_part = input.range.is_some() || input.part_number.is_some();
    let content_range = (is_in_part && object.size > 0).then(|| {
        format!(
            "bytes {}-{}/{}",
            range.start,
            range.end.saturating_sub(1),
            object.size
        )
    });
    let headers = &object.attributes.headers;
    let header = |name: &str| headers.get(name).cloned();
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
        checksum_type: checksum.checksum_type,
        e_tag: Some(ETag::Strong(object.etag.clone())),
        expires: input
            .response_expires
            .or_else(|| moment(&object, "expires")),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: metadata(&object),
        parts_count: parts_count(&object, input.part_number),
        server_side_encryption: encryption(&object),
        storage_class: storage_class(&object),
        tag_count: tag_count(&object),
        ..Default::default()
    })
}

fn is_asked(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

pub(super) async fn head_object(
    buckets: &AccountBuckets,
    request: S3Request<HeadObjectInput>,
) -> S3Result<HeadObjectOutput> {
    let found = request.extensions.get::<Found>().cloned();
    let input = request.input;
    let object = buckets.object(&input.bucket, &input.key).await?;
    if let Some(found) = found {
        found.set_tags(object.attributes.tags.len());
    }
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&object)?;
    let header = |name: &str| object.attributes.headers.get(name).cloned();
    let mut checksum = checksums::read(&object.attributes.headers);
    let mut length = object.size;
    let mut content_range = None;
    if let Some(number) = input.part_number {
        let part = part(&object, number, &checksum)?;
        let (start, end) = (part.bytes.start, part.bytes.end.saturating_sub(1));
        content_range = (object.size > 0).then(|| format!("bytes {start}-{end}/{}", object.size));
        length = part.bytes.end - part.bytes.start;
        checksum = part.checksum;
    }
    if !is_asked(input.checksum_mode.as_ref()) {
        checksum = Checksum::default();
    }
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: header("cache-control"),
        content_disposition: header("content-disposition"),
        content_encoding: header("content-encoding"),
        content_language: header("content-language"),
        content_length: i64::try_from(length).ok(),
        content_range,
        content_type: header("content-type"),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        checksum_type: checksum.checksum_type,
        e_tag: Some(ETag::Strong(object.etag.clone())),
        expires: moment(&object, "expires"),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: metadata(&object),
        parts_count: parts_count(&object, input.part_number),
        server_side_encryption: encryption(&object),
        storage_class: storage_class(&object),
        ..Default::default()
    })
}

/// Attributes of an object, without its bytes.
pub(super) async fn get_object_attributes(
    buckets: &AccountBuckets,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<GetObjectAttributesOutput> {
    let input = request.input;
    let object = buckets.object(&input.bucket, &input.key).await?;
    let is_asked = |name: &str| {
        // One header has all names, and `s3s` passes it on as it is.
        let asked = input.object_attributes.iter();
        let mut asked = asked.flat_map(|attributes| attributes.as_str().split(','));
        asked.any(|attribute| attribute.trim() == name)
    };
    let checksum = checksums::read(&object.attributes.headers);
    let has_checksum = checksum.checksum_type.is_some();
    let parts = is_asked("ObjectParts") && !object.parts.is_empty();
    let parts = parts.then(|| {
        let from = input.part_number_marker.unwrap_or_default();
        let most = input.max_parts.unwrap_or(MAX_LISTED_PARTS);
        object_parts(&object, &checksum, from, most.clamp(0, MAX_LISTED_PARTS))
    });
    Ok(GetObjectAttributesOutput {
        object_parts: parts,
        checksum: (is_asked("Checksum") && has_checksum).then_some(checksum),
        e_tag: is_asked("ETag").then(|| ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified_ms)),
        object_size: is_asked("ObjectSize")
            .then(|| i64::try_from(object.size).ok())
            .flatten(),
        storage_class: is_asked("StorageClass").then(|| {
            let usual = || StorageClass::from_static(StorageClass::STANDARD);
            storage_class(&object).unwrap_or_else(usual)
        }),
        ..Default::default()
    })
}

/// A page of an object's parts.
fn object_parts(
    object: &Object,
    whole: &Checksum,
    from: i32,
    most: i32,
) -> GetObjectAttributesParts {
    let behind: Vec<_> = object
        .parts
        .iter()
        .filter(|part| part.number > from)
        .collect();
    let length = usize::try_from(most).unwrap_or_default().min(behind.len());
    let listed = behind[..length].iter().map(|part| {
        let checksum = checksums::of_part(whole, &part.checksum);
        s3s::dto::ObjectPart {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            part_number: Some(part.number),
            size: i64::try_from(part.size).ok(),
        }
    });
    GetObjectAttributesParts {
        is_truncated: Some(length < behind.len()),
        max_parts: Some(most),
        next_part_number_marker: behind[..length].last().map(|part| part.number),
        part_number_marker: Some(from),
        parts: Some(listed.collect()),
        total_parts_count: i32::try_from(object.parts.len()).ok(),
    }
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
    checksums::keep(&mut attributes.headers, &received.checksum);
    let encryption = attributes.headers.get(SSE).cloned();
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
        server_side_encryption: encryption.map(ServerSideEncryption::from),
        ..Default::default()
    })
}

pub(super) async fn copy_object(
    buckets: &AccountBuckets,
    request: S3Request<CopyObjectInput>,
) -> S3Result<CopyObjectOutput> {
    let may_keep_tags = rights::may_keep_tags(&request);
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
    let given = attributes!(input);
    let tagging = input
        .tagging_directive
        .as_ref()
        .map(TaggingDirective::as_str);
    let tags = match may_keep_tags {
        _ if tagging == Some(TaggingDirective::REPLACE) => Some(given.tags.clone()),
        Ok(()) => None,
        Err(denied) => {
            let source = buckets.object(bucket, key).await?;
            if !source.attributes.tags.is_empty() {
                return Err(denied);
            }
            // Even if the source is written again meanwhile.
            Some(Vec::new())
        }
    };
    // As on S3: the copy is in the class and under the keys that the request names, or in the usual ones.
    let own_headers = [SSE, STORAGE_CLASS]
        .map(|name| (name.to_owned(), given.headers.get(name).cloned()))
        .into();
    let attributes = (directive == Some(MetadataDirective::REPLACE)).then_some(given);
    let (source_bucket, source_key) = (bucket.to_string(), key.to_string());
    let (bucket, key) = (input.bucket, input.key);
    let modified_ms = now_ms();
    let copied = buckets
        .with_store(move |store, account| {
            let copy = ObjectCopy {
                source: (&source_bucket, &source_key),
                target: (&bucket, &key),
                attributes,
                own_headers,
                tags,
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
    if keys.is_empty() || keys.len() > MAX_DELETED {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
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
