//! The uploads under way in a bucket.

use hearth_objects::UploadsRequest;
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, MultipartUpload, StorageClass,
};
use s3s::{S3Request, S3Result, s3_error};

use super::acl;
use super::checksums;
use super::description::STORAGE_CLASS;
use super::encoding::Encoding;
use super::multipart::initiator;
use super::store::{AccountBuckets, timestamp};

/// Uploads in one answer (S3's own bound).
const MAX_UPLOADS: i32 = 1000;

pub(super) async fn list_multipart_uploads(
    buckets: &AccountBuckets,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let most = input.max_uploads.unwrap_or(MAX_UPLOADS).min(MAX_UPLOADS);
    let limit = usize::try_from(most)
        .map_err(|_| s3_error!(InvalidArgument, "Argument max-uploads must be positive"))?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    // An id without a key says nothing (S3 ignores it too).
    let after = input
        .key_marker
        .clone()
        .filter(|key| !key.is_empty())
        .map(|key| (key, input.upload_id_marker.clone()));
    let wanted = UploadsRequest {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after,
        limit,
    };
    let bucket = input.bucket.clone();
    let found = buckets
        .with_store(move |store, account| store.uploads(account, &bucket, &wanted))
        .await?;
    let owner = acl::owner(buckets.account());
    let upload = |upload: hearth_objects::UploadUnderWay| {
        let kind = checksums::of_upload(&upload.attributes);
        let class = upload.attributes.headers.get(STORAGE_CLASS).cloned();
        let class = class.unwrap_or_else(|| StorageClass::STANDARD.to_owned());
        Ok(MultipartUpload {
            key: Some(encoding.write(&upload.key)?),
            initiated: Some(timestamp(upload.created_ms)),
            initiator: Some(initiator(&owner)),
            owner: Some(owner.clone()),
            storage_class: Some(StorageClass::from(class)),
            checksum_algorithm: kind
                .map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
            checksum_type: kind.map(|(_, kind)| ChecksumType::from(kind.to_owned())),
            upload_id: Some(upload.id),
        })
    };
    let uploads: S3Result<Vec<_>> = found.uploads.into_iter().map(upload).collect();
    let prefix = |prefix: String| {
        Ok(CommonPrefix {
            prefix: Some(encoding.write(&prefix)?),
        })
    };
    let prefixes: S3Result<Vec<_>> = found.prefixes.into_iter().map(prefix).collect();
    let is_truncated = found.next.is_some();
    let (next_key, next_id) = found.next.unzip();
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        uploads: Some(uploads?),
        common_prefixes: Some(prefixes?),
        is_truncated: Some(is_truncated),
        max_uploads: Some(most),
        prefix: encoding.write_some(input.prefix.as_ref())?,
        delimiter: encoding.write_some(delimiter.as_ref())?,
        key_marker: Some(encoding.write(&input.key_marker.unwrap_or_default())?),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: encoding.write_some(next_key.as_ref())?,
        next_upload_id_marker: next_id.flatten(),
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}
