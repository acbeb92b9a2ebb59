//! The buckets of one account, as `s3s` calls them. Operations of `s3s` that are not listed here are answered with
//! `NotImplemented`.

use async_trait::async_trait;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketInput, DeleteBucketOutput,
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, DeleteObjectsInput, DeleteObjectsOutput,
    GetBucketAclInput, GetBucketAclOutput, GetBucketCorsInput, GetBucketCorsOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectInput, GetObjectOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutBucketAclInput, PutBucketAclOutput,
    PutBucketCorsInput, PutBucketCorsOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
    PutObjectAclInput, PutObjectAclOutput, PutObjectInput, PutObjectOutput, PutObjectTaggingInput,
    PutObjectTaggingOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};

use super::store::AccountBuckets;

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
        pub(crate) const INPUTS: &[&str] = &[$(stringify!($input)),+];
    };
}

use super::{acl, buckets, cors, listing, multipart, objects, part_copy, tags, uploads};

hand_on! {
    create_bucket: buckets(CreateBucketInput) -> CreateBucketOutput;
    delete_bucket: buckets(DeleteBucketInput) -> DeleteBucketOutput;
    head_bucket: buckets(HeadBucketInput) -> HeadBucketOutput;
    get_bucket_location: buckets(GetBucketLocationInput) -> GetBucketLocationOutput;
    get_bucket_versioning: buckets(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    list_buckets: buckets(ListBucketsInput) -> ListBucketsOutput;
    get_bucket_acl: acl(GetBucketAclInput) -> GetBucketAclOutput;
    put_bucket_acl: acl(PutBucketAclInput) -> PutBucketAclOutput;
    get_object_acl: acl(GetObjectAclInput) -> GetObjectAclOutput;
    put_object_acl: acl(PutObjectAclInput) -> PutObjectAclOutput;
    get_bucket_cors: cors(GetBucketCorsInput) -> GetBucketCorsOutput;
    put_bucket_cors: cors(PutBucketCorsInput) -> PutBucketCorsOutput;
    delete_bucket_cors: cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput;
    get_bucket_tagging: tags(GetBucketTaggingInput) -> GetBucketTaggingOutput;
    put_bucket_tagging: tags(PutBucketTaggingInput) -> PutBucketTaggingOutput;
    delete_bucket_tagging: tags(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput;
    get_object_tagging: tags(GetObjectTaggingInput) -> GetObjectTaggingOutput;
    put_object_tagging: tags(PutObjectTaggingInput) -> PutObjectTaggingOutput;
    delete_object_tagging: tags(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput;
    list_multipart_uploads: uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
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
