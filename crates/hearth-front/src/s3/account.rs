//! The buckets of one account, as `s3s` calls them. Operations of `s3s` that are not listed here are answered with
//! `NotImplemented`.

use async_trait::async_trait;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput,
    DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput, GetObjectAttributesInput,
    GetObjectAttributesOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput,
    PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};

use super::store::{AccountBuckets, now_ms, timestamp};

/// Methods that pass their input to a function of the same name.
macro_rules! hand_on {
    ($($name:ident: $module:ident($input:ty) -> $output:ty;)+) => {
        #[async_trait]
        impl S3 for AccountBuckets {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $module::$name(self, request).await.map(S3Response::new)
            })+
        }

        /// The input types of all operations: their names with the suffix `Input`.
        pub(super) const INPUTS: &[&str] = &[$(stringify!($input)),+];
    };
}

use super::{listing, multipart, objects, part_copy};

hand_on! {
    create_bucket: buckets(CreateBucketInput) -> CreateBucketOutput;
    delete_bucket: buckets(DeleteBucketInput) -> DeleteBucketOutput;
    head_bucket: buckets(HeadBucketInput) -> HeadBucketOutput;
    get_bucket_location: buckets(GetBucketLocationInput) -> GetBucketLocationOutput;
    list_buckets: buckets(ListBucketsInput) -> ListBucketsOutput;
    list_objects: listing(ListObjectsInput) -> ListObjectsOutput;
    list_objects_v2: listing(ListObjectsV2Input) -> ListObjectsV2Output;
    list_object_versions: listing(ListObjectVersionsInput) -> ListObjectVersionsOutput;
    get_object_attributes:
        objects(GetObjectAttributesInput) -> GetObjectAttributesOutput;
    get_object: objects(GetObjectInput) -> GetObjectOutput;
    head_object: objects(HeadObjectInput) -> HeadObjectOutput;
    put_object: objects(PutObjectInput) -> PutObjectOutput;
    copy_object: objects(CopyObjectInput) -> CopyObjectOutput;
    delete_object: objects(DeleteObjectInput) -> DeleteObjectOutput;
    delete_objects: objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    create_multipart_upload:
        multipart(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    upload_part: multipart(UploadPartInput) -> UploadPartOutput;
    upload_part_copy: part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    list_parts: multipart(ListPartsInput) -> ListPartsOutput;
    complete_multipart_upload:
        multipart(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    abort_multipart_upload: multipart(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
}

mod buckets {
    use super::*;

    pub(super) async fn create_bucket(
        buckets: &AccountBuckets,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<CreateBucketOutput> {
        let name = request.input.bucket;
        let location = format!("/{name}");
        buckets
            .with_store(move |store, account| store.create_bucket(account, &name, now_ms()))
            .await?;
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
        Ok(HeadBucketOutput::default())
    }

    pub(super) async fn get_bucket_location(
        buckets: &AccountBuckets,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<GetBucketLocationOutput> {
        buckets.check_bucket(&request.input.bucket).await?;
        Ok(GetBucketLocationOutput::default())
    }

    pub(super) async fn list_buckets(
        buckets: &AccountBuckets,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<ListBucketsOutput> {
        let found = buckets
            .with_store(|store, account| store.buckets(account))
            .await?;
        let found = found.into_iter().map(|bucket| Bucket {
            name: Some(bucket.name),
            creation_date: Some(timestamp(bucket.created_ms)),
            bucket_region: None,
        });
        Ok(ListBucketsOutput {
            buckets: Some(found.collect()),
            ..Default::default()
        })
    }
}
