//! Authorization in S3: the actions and resources of its operations, checked against the caller's policies, and what
//! guests may ask. The signature has been verified before.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_control::Control;
use hearth_control::throttle::Rate;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    CopyObjectInput, CopySource, CreateMultipartUploadInput, DeleteObjectsInput,
    GetObjectAttributesInput, ListObjectVersionsInput, ListObjectsInput, ListObjectsV2Input,
    PutObjectInput, TaggingDirective, UploadPartCopyInput,
};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};
use tokio::sync::Semaphore;

use super::account::INPUTS;
use super::found::Found;
use super::memory::{Held, Memory};
use super::rights::{Visit, WRITE_TAGS, may, may_tag, object, visit_of};
use crate::guest::Guest;
use crate::identity::Principal;
use crate::policy::Facts;

/// The policy action of an operation.
struct Action {
    name: &'static str,
    /// Whether the operation is about data, which guests may read and write, or about buckets themselves.
    is_data: bool,
}

const fn data(name: &'static str) -> Option<Action> {
    Some(Action {
        name,
        is_data: true,
    })
}

const fn administration(name: &'static str) -> Option<Action> {
    Some(Action {
        name,
        is_data: false,
    })
}

/// The action of each operation ("Actions, resources, and condition keys for Amazon S3"). Roles and guests cannot
/// call an operation that is not listed.
fn action(operation: &str) -> Option<Action> {
    match operation {
        "GetObject" | "HeadObject" => data("s3:GetObject"),
        "GetObjectAttributes" => data("s3:GetObjectAttributes"),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => data("s3:PutObject"),
        "DeleteObject" | "DeleteObjects" => data("s3:DeleteObject"),
        "AbortMultipartUpload" => data("s3:AbortMultipartUpload"),
        "ListParts" => data("s3:ListMultipartUploadParts"),
        "ListObjects" | "ListObjectsV2" | "HeadBucket" => data("s3:ListBucket"),
        "ListObjectVersions" => data("s3:ListBucketVersions"),
        "ListMultipartUploads" => data("s3:ListBucketMultipartUploads"),
        "GetObjectTagging" => data("s3:GetObjectTagging"),
        "PutObjectTagging" => data(WRITE_TAGS),
        "DeleteObjectTagging" => data("s3:DeleteObjectTagging"),
        "GetObjectAcl" => data("s3:GetObjectAcl"),
        "PutObjectAcl" => data("s3:PutObjectAcl"),
        "GetBucketAcl" => data("s3:GetBucketAcl"),
        "GetBucketVersioning" => data("s3:GetBucketVersioning"),
        "GetBucketTagging" => data("s3:GetBucketTagging"),
        "GetBucketCors" => data("s3:GetBucketCORS"),
        "GetBucketLocation" => data("s3:GetBucketLocation"),
        "ListBuckets" => data("s3:ListAllMyBuckets"),
        "PutBucketAcl" => administration("s3:PutBucketAcl"),
        "PutBucketTagging" | "DeleteBucketTagging" => administration("s3:PutBucketTagging"),
        "PutBucketCors" | "DeleteBucketCors" => administration("s3:PutBucketCORS"),
        "CreateBucket" => administration("s3:CreateBucket"),
        "DeleteBucket" => administration("s3:DeleteBucket"),
        _ => None,
    }
}

/// Lists of up to this many keys are checked without waiting. One key costs at most a millisecond with the largest inline
/// policies, and seven with the largest managed ones besides.
const FEW_KEYS: usize = 1;

/// The authorization of one account, as `s3s` calls it.
pub(super) struct Access {
    control: Control,
    /// Serializes checks of long lists of keys against a role's policies. The longest list takes some seconds with
    /// the largest policies, and all accounts share the blocking threads.
    lists: Semaphore,
    memory: Arc<Memory>,
}

impl Access {
    pub(super) fn new(control: Control, memory: Arc<Memory>) -> Self {
        Self {
            control,
            lists: Semaphore::new(1),
            memory,
        }
    }
}

/// Headers in which a client says whose it takes the buckets for.
const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";
const EXPECTED_SOURCE_OWNER: &str = "x-amz-source-expected-bucket-owner";

#[async_trait]
impl S3Access for Access {
    /// Called once for every request, before its input is read.
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let operation = operation.as_str();
        let found = context.extensions_mut().get::<Found>().cloned();
        let found = found.unwrap_or_default();
        if let Some(name) = known(operation) {
            found.set_operation(name);
        }
        let signed_by = context
            .credentials()
            .map(|signed| signed.access_key.clone());
        let visit = context.extensions_mut().get::<Visit>().cloned();
        let Some(visit) =
            visit.filter(|visit| Some(&visit.signer.access_key) == signed_by.as_ref())
        else {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        };
        found.set_verified();
        // The guest door has counted requests of guests.
        if !visit.is_guest {
            let account = visit.signer.account;
            let taken = self.control.throttle(account, Rate::Request);
            taken.map_err(|_| s3_error!(SlowDown, "Please reduce your request rate."))?;
        }
        let account = visit.signer.account.to_string();
        for name in [EXPECTED_OWNER, EXPECTED_SOURCE_OWNER] {
            let expected = context.headers().get(name);
            if expected.is_some_and(|expected| expected.as_bytes() != account.as_bytes()) {
                return Err(s3_error!(AccessDenied, "Access Denied"));
            }
        }
        let held = context.extensions_mut().get::<Held>().cloned();
        if let Some(held) = held
            && !self.memory.give(&visit.signer.account.to_string(), &held)
        {
            return Err(s3_error!(SlowDown, "Please reduce your request rate."));
        }
        let action = action(operation);
        if visit.is_guest && !action.as_ref().is_some_and(|action| action.is_data) {
            return Err(s3_error!(AccessDenied, "{}", Guest::CLOSED));
        }
        // The keys of a list are in its body. Each is checked once the body has been read.
        if operation == "DeleteObjects" {
            return Ok(());
        }
        let name = action.map_or_else(
            || format!("s3:{operation}"),
            |action| action.name.to_owned(),
        );
        // A prefix is checked once `s3s` has read it.
        if matches!(
            operation,
            "ListObjects" | "ListObjectsV2" | "ListObjectVersions"
        ) {
            return Ok(());
        }
        may(&visit, &name, &resource(context.s3_path()), &no_prefix())
    }

    async fn list_objects(&self, request: &mut S3Request<ListObjectsInput>) -> S3Result<()> {
        let visit = visit_of(request)?;
        let prefix = request.input.prefix.as_ref();
        may_list(&visit, "s3:ListBucket", &request.input.bucket, prefix)
    }

    async fn list_objects_v2(&self, request: &mut S3Request<ListObjectsV2Input>) -> S3Result<()> {
        let visit = visit_of(request)?;
        let prefix = request.input.prefix.as_ref();
        may_list(&visit, "s3:ListBucket", &request.input.bucket, prefix)
    }

    async fn list_object_versions(
        &self,
        request: &mut S3Request<ListObjectVersionsInput>,
    ) -> S3Result<()> {
        let visit = visit_of(request)?;
        let prefix = request.input.prefix.as_ref();
        may_list(
            &visit,
            "s3:ListBucketVersions",
            &request.input.bucket,
            prefix,
        )
    }

    /// The attributes of an object may be read by callers that may read the object.
    async fn get_object_attributes(
        &self,
        request: &mut S3Request<GetObjectAttributesInput>,
    ) -> S3Result<()> {
        let read = object(&request.input.bucket, &request.input.key);
        may(&visit_of(request)?, "s3:GetObject", &read, &Facts::new())
    }

    async fn put_object(&self, request: &mut S3Request<PutObjectInput>) -> S3Result<()> {
        let (visit, input) = (visit_of(request)?, &request.input);
        may_tag(&visit, input.tagging.as_deref(), &input.bucket, &input.key)
    }

    async fn create_multipart_upload(
        &self,
        request: &mut S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<()> {
        let (visit, input) = (visit_of(request)?, &request.input);
        may_tag(&visit, input.tagging.as_deref(), &input.bucket, &input.key)
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        let (visit, input) = (visit_of(request)?, &request.input);
        may_copy(&visit, &input.copy_source)?;
        // Whether a copy without new tags has tags is known once its source is known.
        let directive = input.tagging_directive.as_ref();
        let is_new = directive.is_some_and(|given| given.as_str() == TaggingDirective::REPLACE);
        let given = input.tagging.as_deref().filter(|_| is_new);
        may_tag(&visit, given, &input.bucket, &input.key)
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        may_copy(&visit_of(request)?, &request.input.copy_source)
    }

    /// If one key of a list may not be deleted, nothing is deleted.
    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let visit = visit_of(request)?;
        let input = &request.input;
        let keys = input.delete.objects.iter();
        let resources = keys.map(|named| object(&input.bucket, &named.key));
        let resources: Vec<_> = resources.collect();
        let is_account = matches!(visit.signer.principal, Principal::Account);
        if is_account || resources.len() <= FEW_KEYS {
            return may_delete(&visit, &resources);
        }
        // The semaphore is never closed.
        let _turn = self.lists.acquire().await;
        let decided = tokio::task::spawn_blocking(move || may_delete(&visit, &resources));
        decided
            .await
            .unwrap_or_else(|error| Err(super::fault::internal(&error)))
    }
}

fn may_delete(visit: &Visit, resources: &[String]) -> S3Result<()> {
    resources
        .iter()
        .try_for_each(|resource| may(visit, "s3:DeleteObject", resource, &Facts::new()))
}

/// A copy reads its source.
fn may_copy(visit: &Visit, source: &CopySource) -> S3Result<()> {
    let CopySource::Bucket { bucket, key, .. } = source else {
        return Err(s3_error!(NotImplemented));
    };
    may(visit, "s3:GetObject", &object(bucket, key), &Facts::new())
}

fn may_list(visit: &Visit, action: &str, bucket: &str, prefix: Option<&String>) -> S3Result<()> {
    let facts = Facts::from([("s3:prefix", prefix.cloned())]);
    may(visit, action, &format!("arn:aws:s3:::{bucket}"), &facts)
}

/// The facts of a request that lists nothing.
fn no_prefix() -> Facts {
    Facts::from([("s3:prefix", None)])
}

fn resource(path: &S3Path) -> String {
    match path {
        S3Path::Root => "*".to_owned(),
        S3Path::Bucket { bucket } => format!("arn:aws:s3:::{bucket}"),
        S3Path::Object { bucket, key } => object(bucket, key),
    }
}

/// The name as a constant: labels of metrics must be constants.
fn known(name: &str) -> Option<&'static str> {
    let names = INPUTS
        .iter()
        .filter_map(|input| input.strip_suffix("Input"));
    names.into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name() {
        let named = INPUTS.iter().filter(|input| input.ends_with("Input"));
        assert_eq!(named.count(), INPUTS.len());
        assert_eq!(known("PutObject"), Some("PutObject"));
        assert_eq!(known("PutBucketPolicy"), None);
    }

    /// An operation that is added without an action would be closed to roles without anybody having decided so.
    #[test]
    fn every_operation_has_an_action() {
        for operation in INPUTS
            .iter()
            .filter_map(|input| input.strip_suffix("Input"))
        {
            assert!(action(operation).is_some(), "{operation}");
        }
    }
}
