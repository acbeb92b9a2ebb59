//! Objects: a key, a blob, and what HTTP headers say of it.

use std::collections::BTreeMap;
use std::fs::File;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::blob::NewBlob;
use crate::error::ObjectError;
use crate::store::{ObjectStore, bucket_id};

/// What a client says of an object besides its bytes. Written into the index as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Standard headers, such as `content-type`, and checksums, such as `x-amz-checksum-crc32`.
    pub headers: BTreeMap<String, String>,
    /// The client's own, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

/// An object to be kept.
#[derive(Debug)]
pub struct NewObject {
    /// Its bytes, written and synced.
    pub blob: NewBlob,
    /// How many they are.
    pub size: u64,
    /// Its tag, without quotation marks.
    pub etag: String,
    /// What else is said of it.
    pub attributes: Attributes,
}

/// An object as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// Its tag, without quotation marks.
    pub etag: String,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// What else is said of it.
    pub attributes: Attributes,
}

/// What must hold for an object to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no object of this key.
    Absent,
    /// The object has this tag, or any without one.
    Present(Option<String>),
}

/// The columns that [`object_from_row`] reads.
pub(crate) const COLUMNS: &str = "key, size, etag, modified_ms, attributes, blob";

impl ObjectStore {
    /// A file for bytes to come.
    ///
    /// # Errors
    ///
    /// When its directory cannot be made.
    pub fn new_blob(&self) -> Result<NewBlob, ObjectError> {
        Ok(self.blobs.create()?)
    }

    /// Keeps an object under a key, in place of the one that was there.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::ConditionFailed`] or a failure of the index.
    pub fn put(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        object: NewObject,
        condition: &Condition,
        now_ms: i64,
    ) -> Result<(), ObjectError> {
        let row = ObjectRow {
            key: key.to_owned(),
            size: object.size,
            etag: object.etag,
            modified_ms: now_ms,
            attributes: serde_json::to_string(&object.attributes)?,
            blob: object.blob.name.clone(),
        };
        let (account, bucket) = (account.to_owned(), bucket.to_owned());
        let condition = condition.clone();
        let replaced = self.write(move |index| {
            let bucket_id = bucket_id(index, &account, &bucket)?;
            insert(index, bucket_id, &row, &condition)
        })?;
        object.blob.keep();
        self.blobs.remove(replaced);
        Ok(())
    }

    /// One object.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::NoObject`] or a failure of the index.
    pub fn object(&self, account: &str, bucket: &str, key: &str) -> Result<Object, ObjectError> {
        let (object, _) = self.read(|index| find(index, account, bucket, key))?;
        Ok(object)
    }

    /// One object with its bytes. The file stays readable when the object is replaced or deleted.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::NoObject`], or a failure of file or index.
    pub fn open_object(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
    ) -> Result<(Object, File), ObjectError> {
        // Looked up and opened in one: the blob is removed neither before nor in between.
        self.blobs.while_opening(|| {
            let (object, blob) = self.read(|index| find(index, account, bucket, key))?;
            let file = File::open(self.blobs.path(&blob))?;
            Ok((object, file))
        })
    }

    /// Removes an object. Succeeds if it does not exist.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn delete(&self, account: &str, bucket: &str, key: &str) -> Result<(), ObjectError> {
        let (account, bucket, key) = (account.to_owned(), bucket.to_owned(), key.to_owned());
        let blob = self.write(move |index| {
            let bucket_id = bucket_id(index, &account, &bucket)?;
            let mut delete = index.prepare_cached(
                "DELETE FROM object WHERE bucket_id = ? AND key = ? RETURNING blob",
            )?;
            let blob = delete.query_row(params![bucket_id, key], |row| row.get(0));
            Ok(blob.optional()?)
        })?;
        self.blobs.remove(blob);
        Ok(())
    }
}

/// An object and the name of its blob.
fn find(
    index: &Connection,
    account: &str,
    bucket: &str,
    key: &str,
) -> Result<(Object, String), ObjectError> {
    let bucket_id = bucket_id(index, account, bucket)?;
    let mut statement = index.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM object WHERE bucket_id = ? AND key = ?"
    ))?;
    let mut rows = statement.query(params![bucket_id, key])?;
    let row = rows.next()?.ok_or(ObjectError::NoObject)?;
    Ok((object_from_row(row)?, row.get(5)?))
}

pub(crate) fn object_from_row(row: &Row<'_>) -> Result<Object, ObjectError> {
    let attributes: String = row.get(4)?;
    Ok(Object {
        key: row.get(0)?,
        size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
        etag: row.get(2)?,
        modified_ms: row.get(3)?,
        attributes: serde_json::from_str(&attributes)?,
    })
}

/// An object as it is written into the index.
pub(crate) struct ObjectRow {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    /// The stored form of its [`Attributes`].
    pub(crate) attributes: String,
    /// The name of its blob.
    pub(crate) blob: String,
}

/// Writes an object's row where `condition` holds; gives the blob that it replaced.
pub(crate) fn insert(
    index: &Connection,
    bucket_id: i64,
    object: &ObjectRow,
    condition: &Condition,
) -> Result<Option<String>, ObjectError> {
    let existing: Option<(String, String)> = index
        .prepare_cached("SELECT blob, etag FROM object WHERE bucket_id = ? AND key = ?")?
        .query_row(params![bucket_id, object.key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let holds = match (condition, &existing) {
        (Condition::Always, _) | (Condition::Absent, None) => true,
        (Condition::Present(wanted), Some((_, etag))) => {
            wanted.as_ref().is_none_or(|wanted| wanted == etag)
        }
        (Condition::Absent, Some(_)) | (Condition::Present(_), None) => false,
    };
    if !holds {
        return Err(ObjectError::ConditionFailed);
    }
    index
        .prepare_cached(
            "INSERT OR REPLACE INTO object
               (bucket_id, key, size, etag, modified_ms, attributes, blob)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            bucket_id,
            object.key,
            i64::try_from(object.size).unwrap_or(i64::MAX),
            object.etag,
            object.modified_ms,
            object.attributes,
            object.blob
        ])?;
    Ok(existing.map(|(blob, _)| blob))
}
