//! The store: one index behind one lock, and the directory of blobs.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::blob::Blobs;
use crate::schema;

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
    Index(#[from] rusqlite::Error),
    /// The index holds something that this release did not write.
    #[error("the index is damaged")]
    Damaged(#[from] serde_json::Error),
}

/// The object store.
#[derive(Debug)]
pub struct ObjectStore {
    index: Mutex<Connection>,
    pub(crate) blobs: Blobs,
}

impl ObjectStore {
    /// Opens the store in `directory`, which is made when it is not there, and removes what a crash
    /// left behind.
    ///
    /// # Errors
    ///
    /// When directory or index cannot be opened, or the index comes from a later release.
    pub fn open(directory: &Path) -> Result<Self, ObjectError> {
        std::fs::create_dir_all(directory)?;
        let mut index = Connection::open(directory.join("objects.db"))?;
        schema::prepare(&mut index)?;
        let blobs = Blobs::open(&directory.join("blobs"))?;
        remove_unnamed(&index, &blobs)?;
        Ok(Self {
            index: Mutex::new(index),
            blobs,
        })
    }

    /// The index. A panic while it was held left no open transaction behind: those roll back when
    /// dropped.
    pub(crate) fn index(&self) -> MutexGuard<'_, Connection> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the blobs that the index does not name: what a crash has left.
fn remove_unnamed(index: &Connection, blobs: &Blobs) -> Result<(), ObjectError> {
    let mut named = index.prepare(
        "SELECT 1 FROM object WHERE blob = ?1 UNION ALL SELECT 1 FROM part WHERE blob = ?1",
    )?;
    blobs.remove_others(|name| Ok(named.exists([name])?))
}

/// The id of a bucket of this account.
pub(crate) fn bucket_id(index: &Connection, account: &str, name: &str) -> Result<i64, ObjectError> {
    index
        .prepare_cached("SELECT id FROM bucket WHERE account = ? AND name = ?")?
        .query_row(params![account, name], |row| row.get(0))
        .optional()?
        .ok_or(ObjectError::NoBucket)
}
