//! Whether the caller of a request may perform an action on an object.

use s3s::dto::{CopyObjectInput, CopySource};
use s3s::{S3Request, S3Result, s3_error};

use crate::identity::Signer;
use crate::policy::Facts;

/// The action of writing tags of an object, in a request of its own or with the object.
pub(super) const WRITE_TAGS: &str = "s3:PutObjectTagging";

/// The caller of a request, in the request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) signer: Signer,
    pub(super) is_guest: bool,
}

pub(super) fn visit_of<T>(request: &S3Request<T>) -> S3Result<Visit> {
    let visit = request.extensions.get::<Visit>();
    visit
        .cloned()
        .ok_or_else(|| s3_error!(AccessDenied, "Signature is required"))
}

pub(super) fn may(visit: &Visit, action: &str, resource: &str, facts: &Facts) -> S3Result<()> {
    let allowed = visit
        .signer
        .principal
        .may(action, &[resource.to_owned()], facts);
    allowed.map_err(|denied| s3_error!(AccessDenied, "{denied}"))
}

/// Whoever writes tags with an object may write tags.
pub(super) fn may_tag(visit: &Visit, tags: Option<&str>, bucket: &str, key: &str) -> S3Result<()> {
    match tags.unwrap_or_default() {
        "" => Ok(()),
        _ => may(visit, WRITE_TAGS, &object(bucket, key), &Facts::new()),
    }
}

/// Whether a copy may have the tags of its source: it reads and writes them.
pub(super) fn may_keep_tags(request: &S3Request<CopyObjectInput>) -> S3Result<()> {
    let (visit, input) = (visit_of(request)?, &request.input);
    let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
        return Err(s3_error!(NotImplemented));
    };
    let target = object(&input.bucket, &input.key);
    may(
        &visit,
        "s3:GetObjectTagging",
        &object(bucket, key),
        &Facts::new(),
    )?;
    may(&visit, WRITE_TAGS, &target, &Facts::new())
}

pub(super) fn object(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}
