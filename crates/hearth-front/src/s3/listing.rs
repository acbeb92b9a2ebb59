//! Listings of objects, in both versions of the operation.

use hearth_objects::{Listing, ListingRequest};
use s3s::dto::{
    CommonPrefix, ETag, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass,
};
use s3s::{S3Request, S3Result, s3_error};

use super::store::{AccountBuckets, timestamp};

/// Keys in one answer (S3's own bound).
const MAX_KEYS: i32 = 1000;

pub(super) async fn list_objects(
    buckets: &AccountBuckets,
    request: S3Request<ListObjectsInput>,
) -> S3Result<ListObjectsOutput> {
    let input = request.input;
    let max_keys = input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let wanted = ListingRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone(),
        after: input.marker.clone(),
        limit: limit(max_keys)?,
    };
    let found = list(buckets, &input.bucket, wanted).await?;
    Ok(ListObjectsOutput {
        is_truncated: Some(found.next.is_some()),
        next_marker: found.next.filter(|_| input.delimiter.is_some()),
        contents: Some(found.objects.into_iter().map(object).collect()),
        common_prefixes: Some(found.prefixes.into_iter().map(common_prefix).collect()),
        name: Some(input.bucket),
        prefix: input.prefix,
        marker: Some(input.marker.unwrap_or_default()),
        delimiter: input.delimiter,
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        ..Default::default()
    })
}

pub(super) async fn list_objects_v2(
    buckets: &AccountBuckets,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let input = request.input;
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
    Ok(ListObjectsV2Output {
        is_truncated: Some(found.next.is_some()),
        next_continuation_token: found.next.as_deref().map(write_token),
        key_count: i32::try_from(count).ok(),
        contents: Some(found.objects.into_iter().map(object).collect()),
        common_prefixes: Some(found.prefixes.into_iter().map(common_prefix).collect()),
        name: Some(input.bucket),
        prefix: input.prefix,
        delimiter: input.delimiter,
        encoding_type: input.encoding_type,
        start_after: input.start_after,
        continuation_token: input.continuation_token,
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

fn object(object: hearth_objects::Object) -> Object {
    Object {
        key: Some(object.key),
        size: i64::try_from(object.size).ok(),
        e_tag: Some(ETag::Strong(object.etag)),
        last_modified: Some(timestamp(object.modified_ms)),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Default::default()
    }
}

fn common_prefix(prefix: String) -> CommonPrefix {
    CommonPrefix {
        prefix: Some(prefix),
    }
}

/// Tokens are keys, but not legible ones: clients must not make their own.
fn write_token(key: &str) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(key.as_bytes())
}

fn read_token(token: &str) -> S3Result<String> {
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
