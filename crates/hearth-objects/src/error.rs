//! Why an operation on objects did not happen.

use std::io;

/// Why an operation on objects did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The account has no such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// The account has this bucket.
    #[error("the bucket exists")]
    BucketExists,
    /// The bucket still has objects or uploads.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The account has as many buckets as it may.
    #[error("too many buckets")]
    TooManyBuckets,
    /// The account keeps as many bytes as it may.
    #[error("the objects of the account take all the bytes that they may")]
    AccountFull,
    /// The bucket has no such object.
    #[error("no such object")]
    NoObject,
    /// The object is not what the request expects.
    #[error("a condition of the request does not hold")]
    ConditionFailed,
    /// No such upload.
    #[error("no such upload")]
    NoUpload,
    /// A part that was not uploaded, or whose tag differs.
    #[error("a part is missing or differs")]
    InvalidPart,
    /// Parts that are not in the order of their numbers.
    #[error("parts are out of order")]
    PartOrder,
    /// A part other than the last is below the least size.
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
    /// The index holds something that this release did not write.
    #[error("the index is damaged")]
    Damaged(#[from] serde_json::Error),
}
