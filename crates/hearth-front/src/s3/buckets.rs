//! Operations on buckets.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::acl;
use super::fault::refused;
use super::listing::{read_token, write_token};
use super::store::{AccountBuckets, now_ms, timestamp};
use hearth_objects::ObjectError;

/// The region whose name S3 does not say, and in which a bucket that is made again is no error.
const FIRST_REGION: &str = "us-east-1";

/// Buckets in one answer (S3's own bound).
const MAX_BUCKETS: i32 = 10_000;

pub(super) async fn create_bucket(
    buckets: &AccountBuckets,
    request: S3Request<CreateBucketInput>,
) -> S3Result<CreateBucketOutput> {
    let constraint = request.input.create_bucket_configuration;
    let constraint = constraint.and_then(|asked| asked.location_constraint);
    let constraint = constraint.as_ref().map(BucketLocationConstraint::as_str);
    let region = buckets.region();
    if let Some(other) = constraint.filter(|asked| *asked != region && !asked.is_empty()) {
        return Err(s3_error!(
            IllegalLocationConstraintException,
            "The {} location constraint is incompatible for the region specific endpoint this request was sent to.",
            other
        ));
    }
    let name = request.input.bucket;
    let location = format!("/{name}");
    let made = buckets
        .try_with_store(move |store, account| store.create_bucket(account, &name, now_ms()))
        .await?;
    match made {
        Err(ObjectError::BucketExists) if region == FIRST_REGION => {}
        other => other.map_err(refused)?,
    }
    Ok(CreateBucketOutput {
        location: Some(location),
    })
}

pub(super) async fn delete_bucket(
    buckets: &AccountBuckets,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<DeleteBucketOutput> {
    let name = request.input.bucket;
    buckets
        .with_store(move |store, account| store.delete_bucket(account, &name))
        .await?;
    Ok(DeleteBucketOutput::default())
}

pub(super) async fn head_bucket(
    buckets: &AccountBuckets,
    request: S3Request<HeadBucketInput>,
) -> S3Result<HeadBucketOutput> {
    buckets.check_bucket(&request.input.bucket).await?;
    Ok(HeadBucketOutput {
        bucket_region: Some(buckets.region().to_owned()),
        ..Default::default()
    })
}

pub(super) async fn get_bucket_location(
    buckets: &AccountBuckets,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<GetBucketLocationOutput> {
    buckets.check_bucket(&request.input.bucket).await?;
    let region = buckets.region();
    let named = (region != FIRST_REGION).then(|| region.to_owned());
    Ok(GetBucketLocationOutput {
        location_constraint: named.map(BucketLocationConstraint::from),
    })
}

/// Says that a bucket has no versions: nothing can give it any.
pub(super) async fn get_bucket_versioning(
    buckets: &AccountBuckets,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<GetBucketVersioningOutput> {
    buckets.check_bucket(&request.input.bucket).await?;
    Ok(GetBucketVersioningOutput::default())
}

pub(super) async fn list_buckets(
    buckets: &AccountBuckets,
    request: S3Request<ListBucketsInput>,
) -> S3Result<ListBucketsOutput> {
    let input = request.input;
    let most = input.max_buckets.unwrap_or(MAX_BUCKETS);
    if !(1..=MAX_BUCKETS).contains(&most) {
        return Err(s3_error!(
            InvalidArgument,
            "Argument max-buckets must be an integer between 1 and {}",
            MAX_BUCKETS
        ));
    }
    let after = input.continuation_token.as_deref().map(read_token);
    let after = after.transpose()?.unwrap_or_default();
    let prefix = input.prefix.clone().unwrap_or_default();
    let is_here = input
        .bucket_region
        .is_none_or(|asked| asked == buckets.region());
    let found = buckets
        .with_store(|store, account| store.buckets(account))
        .await?;
    let mut found: Vec<_> = found
        .into_iter()
        .filter(|bucket| is_here && bucket.name.starts_with(&prefix) && bucket.name > after)
        .collect();
    let length = usize::try_from(most).unwrap_or_default();
    let is_truncated = found.len() > length;
    found.truncate(length);
    let last = found.last().filter(|_| is_truncated);
    let token = last.map(|last| write_token(&last.name));
    // S3 says the region only where pages or a region are asked for; it is one more member elsewhere.
    let region = buckets.region().to_owned();
    let found = found.into_iter().map(|bucket| Bucket {
        name: Some(bucket.name),
        creation_date: Some(timestamp(bucket.created_ms)),
        bucket_region: Some(region.clone()),
    });
    Ok(ListBucketsOutput {
        buckets: Some(found.collect()),
        continuation_token: token,
        owner: Some(acl::owner(buckets.account())),
        prefix: input.prefix,
    })
}
