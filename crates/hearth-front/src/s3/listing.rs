//! Listings of objects: both versions of `ListObjects`, and `ListObjectVersions`.

use hearth_objects::{Attributes, Listing, ListingRequest};
use s3s::dto::{
    CommonPrefix, ETag, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass,
    ObjectVersion, ObjectVersionStorageClass, Owner,
};
use s3s::{S3Request, S3Result, s3_error};

use super::acl;
use super::description::STORAGE_CLASS;
use super::encoding::Encoding;
use super::store::{AccountBuckets, timestamp};

/// Keys in one answer (S3's own bound).
const MAX_KEYS: i32 = 1000;

/// The version id of an object in a bucket without versioning.
const ONLY_VERSION: &str = "null";

pub(super) async fn list_objects(
    buckets: &AccountBuckets,
    request: S3Request<ListObjectsInput>,
) -> S3Result<ListObjectsOutput> {
    let mut input = request.input;
    // An empty one rolls nothing up, and is not said back.
    input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_keys = input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let wanted = ListingRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        after: input.marker.clone(),
        limit: limit(max_keys)?,
    };
    let found = list(buckets, &input.bucket, wanted).await?;
    let owner = acl::owner(buckets.account());
    Ok(ListObjectsOutput {
        is_truncated: Some(found.next.is_some()),
        next_marker: encoding
            .write_some(found.next.as_ref().filter(|_| input.delimiter.is_some()))?,
        contents: Some(objects(found.objects, encoding, Some(&owner))?),
        common_prefixes: Some(common_prefixes(&found.prefixes, encoding)?),
        name: Some(input.bucket),
        prefix: encoding.write_some(input.prefix.as_ref())?,
        marker: Some(encoding.write(&input.marker.unwrap_or_default())?),
        delimiter: encoding.write_some(input.delimiter.as_ref())?,
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        ..Default::default()
    })
}

pub(super) async fn list_objects_v2(
    buckets: &AccountBuckets,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let mut input = request.input;
    // An empty one rolls nothing up, and is not said back.
    input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_keys = input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let after = match input.continuation_token.as_deref() {
        Some(token) => Some(read_token(token)?),
        None => input.start_after.clone(),
    };
    let wanted = ListingRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        after,
        limit: limit(max_keys)?,
    };
    let found = list(buckets, &input.bucket, wanted).await?;
    let count = found.objects.len() + found.prefixes.len();
    let is_owner_asked = input.fetch_owner == Some(true);
    let owner = is_owner_asked.then(|| acl::owner(buckets.account()));
    Ok(ListObjectsV2Output {
        is_truncated: Some(found.next.is_some()),
        next_continuation_token: found.next.as_deref().map(write_token),
        key_count: i32::try_from(count).ok(),
        contents: Some(objects(found.objects, encoding, owner.as_ref())?),
        common_prefixes: Some(common_prefixes(&found.prefixes, encoding)?),
        name: Some(input.bucket),
        prefix: encoding.write_some(input.prefix.as_ref())?,
        delimiter: encoding.write_some(input.delimiter.as_ref())?,
        encoding_type: input.encoding_type,
        start_after: encoding.write_some(input.start_after.as_ref())?,
        continuation_token: input.continuation_token,
        max_keys: Some(max_keys),
        ..Default::default()
    })
}

/// Buckets have no versioning: each object is its only version, with the id `null`.
pub(super) async fn list_object_versions(
    buckets: &AccountBuckets,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<ListObjectVersionsOutput> {
    let mut input = request.input;
    // An empty one rolls nothing up, and is not said back.
    input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_keys = input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let wanted = ListingRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        after: input.key_marker.clone(),
        limit: limit(max_keys)?,
    };
    let found = list(buckets, &input.bucket, wanted).await?;
    let version = |object: hearth_objects::Object| {
        Ok(ObjectVersion {
            key: Some(encoding.write(&object.key)?),
            version_id: Some(ONLY_VERSION.to_owned()),
            is_latest: Some(true),
            size: i64::try_from(object.size).ok(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified_ms)),
            owner: Some(acl::owner(buckets.account())),
            storage_class: Some(ObjectVersionStorageClass::from(class(&object.attributes))),
            ..Default::default()
        })
    };
    let versions: S3Result<_> = found.objects.into_iter().map(version).collect();
    Ok(ListObjectVersionsOutput {
        is_truncated: Some(found.next.is_some()),
        next_key_marker: encoding.write_some(found.next.as_ref())?,
        next_version_id_marker: found.next.map(|_| ONLY_VERSION.to_owned()),
        versions: Some(versions?),
        common_prefixes: Some(common_prefixes(&found.prefixes, encoding)?),
        name: Some(input.bucket),
        prefix: encoding.write_some(input.prefix.as_ref())?,
        key_marker: Some(encoding.write(&input.key_marker.unwrap_or_default())?),
        version_id_marker: input.version_id_marker,
        delimiter: encoding.write_some(input.delimiter.as_ref())?,
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        ..Default::default()
    })
}

async fn list(buckets: &AccountBuckets, bucket: &str, wanted: ListingRequest) -> S3Result<Listing> {
    let bucket = bucket.to_owned();
    if wanted.limit == 0 {
        buckets.check_bucket(&bucket).await?;
        return Ok(Listing::default());
    }
    buckets
        .with_store(move |store, account| store.list(account, &bucket, &wanted))
        .await
}

fn limit(max_keys: i32) -> S3Result<usize> {
    usize::try_from(max_keys).map_err(|_| s3_error!(InvalidArgument, "max-keys is negative"))
}

fn objects(
    found: Vec<hearth_objects::Object>,
    encoding: Encoding,
    owner: Option<&Owner>,
) -> S3Result<Vec<Object>> {
    let object = |object: hearth_objects::Object| {
        Ok(Object {
            key: Some(encoding.write(&object.key)?),
            size: i64::try_from(object.size).ok(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified_ms)),
            storage_class: Some(ObjectStorageClass::from(class(&object.attributes))),
            owner: owner.cloned(),
            ..Default::default()
        })
    };
    found.into_iter().map(object).collect()
}

/// The storage class of an object.
fn class(attributes: &Attributes) -> String {
    let kept = attributes.headers.get(STORAGE_CLASS).cloned();
    kept.unwrap_or_else(|| ObjectStorageClass::STANDARD.to_owned())
}

fn common_prefixes(found: &[String], encoding: Encoding) -> S3Result<Vec<CommonPrefix>> {
    let prefix = |prefix: &String| {
        Ok(CommonPrefix {
            prefix: Some(encoding.write(prefix)?),
        })
    };
    found.iter().map(prefix).collect()
}

/// Tokens are encoded keys, so that clients do not make their own.
pub(super) fn write_token(key: &str) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(key.as_bytes())
}

pub(super) fn read_token(token: &str) -> S3Result<String> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "The continuation token provided is incorrect"
            )
        })
}
