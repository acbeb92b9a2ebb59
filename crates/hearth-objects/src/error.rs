//! Errors of operations on objects.

use std::io;

/// Why an operation on objects failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The account has no such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// The account has this bucket already.
    #[error("the bucket exists")]
    BucketExists,
    /// The bucket still has objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The account has reached its limit of buckets.
    #[error("too many buckets")]
    TooManyBuckets,
    /// The account has reached its byte limit.
    #[error("the objects of the account take all the bytes that they may")]
    AccountFull,
    /// The bucket has no such object.
    #[error("no such object")]
    NoObject,
    /// The object does not satisfy the condition of the request.
    #[error("a condition of the request does not hold")]
    ConditionFailed,
    /// The upload does not exist.
    #[error("no such upload")]
    NoUpload,
    /// A part was not uploaded, or its entity tag differs.
    #[error("a part is missing or differs")]
    InvalidPart,
    /// The parts are not ordered by number.
    #[error("parts are out of order")]
    PartOrder,
    /// A part other than the last is smaller than the minimum.
    #[error("a part is too small")]
    PartTooSmall,
    /// A file could not be read or written.
    #[error("a file failed")]
    File(#[from] io::Error),
    /// The index was written by a later release.
    #[error("the index has version {0}, which this release does not know")]
    UnknownVersion(i64),
    /// The index failed.
    #[error("the index failed")]
    Index(#[source] hearth_sqlite::Error),
    /// The index contains data that this release did not write.
    #[error("the index is damaged")]
    Damaged(#[from] serde_json::Error),
}
