//! Refusals of the object store in the words of S3.

use hearth_objects::ObjectError;
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, s3_error};

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that `map_err` wants"
)]
pub(super) fn refused(error: ObjectError) -> S3Error {
    match error {
        ObjectError::NoBucket => s3_error!(NoSuchBucket, "The specified bucket does not exist"),
        ObjectError::BucketExists => s3_error!(
            BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it."
        ),
        ObjectError::BucketNotEmpty => {
            s3_error!(
                BucketNotEmpty,
                "The bucket you tried to delete is not empty"
            )
        }
        ObjectError::TooManyBuckets => s3_error!(
            TooManyBuckets,
            "You have attempted to create more buckets than allowed"
        ),
        ObjectError::AccountFull => full(),
        ObjectError::NoObject => s3_error!(NoSuchKey, "The specified key does not exist."),
        ObjectError::ConditionFailed => s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ),
        ObjectError::NoUpload => s3_error!(NoSuchUpload, "The specified upload does not exist."),
        ObjectError::InvalidPart => {
            s3_error!(
                InvalidPart,
                "One or more of the specified parts could not be found."
            )
        }
        ObjectError::PartOrder => {
            s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order."
            )
        }
        ObjectError::PartTooSmall => s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ),
        ObjectError::File(_)
        | ObjectError::UnknownVersion(_)
        | ObjectError::Index(_)
        | ObjectError::Damaged(_) => internal(&error),
    }
}

/// AWS has no such limit. The code and the status are those of Ceph.
pub(super) fn full() -> S3Error {
    let text = "The objects and unfinished uploads of this account take all the bytes that [quotas] in the configuration of the service lets them take. Delete some, or raise the quota.";
    let mut error = S3Error::with_message(S3ErrorCode::Custom("QuotaExceeded".into()), text);
    error.set_status_code(StatusCode::FORBIDDEN);
    error
}

/// A failure of the service. The cause is logged.
pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> S3Error {
    tracing::error!(error, "object store failed");
    s3_error!(
        InternalError,
        "We encountered an internal error. Please try again."
    )
}
