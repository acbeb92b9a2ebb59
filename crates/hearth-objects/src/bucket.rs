//! Buckets. Their names are unique within an account only: accounts share nothing.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::ObjectError;
use crate::store::{ObjectStore, bucket_id, unnamed};

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The name of the bucket.
    pub name: String,
    /// When the bucket was created, in milliseconds since 1970.
    pub created_ms: i64,
}

impl ObjectStore {
    /// Creates a bucket.
    ///
    /// # Errors
    ///
    /// [`ObjectError::BucketExists`], [`ObjectError::TooManyBuckets`] or a failure of the index.
    pub fn create_bucket(&self, account: &str, name: &str, now_ms: i64) -> Result<(), ObjectError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        let max_buckets = self.limits.max_buckets;
        let made = self.write(move |index| {
            let has_bucket = bucket_id(index, &account, &name).is_ok();
            let count: u32 = index
                .prepare_cached("SELECT count(*) FROM bucket WHERE account = ?")?
                .query_row([&account], |row| row.get(0))?;
            if !has_bucket && count >= max_buckets {
                return Err(ObjectError::TooManyBuckets);
            }
            Ok(index.execute(
                "INSERT OR IGNORE INTO bucket (account, name, created_ms) VALUES (?, ?, ?)",
                params![account, name, now_ms],
            )?)
        })?;
        if made == 0 {
            Err(ObjectError::BucketExists)
        } else {
            Ok(())
        }
    }

    /// Returns one bucket.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn bucket(&self, account: &str, name: &str) -> Result<Bucket, ObjectError> {
        let created_ms = self.read(|index| {
            let mut query = index
                .prepare_cached("SELECT created_ms FROM bucket WHERE account = ? AND name = ?")?;
            let created_ms = query.query_row(params![account, name], |row| row.get(0));
            created_ms.optional()?.ok_or(ObjectError::NoBucket)
        })?;
        Ok(Bucket {
            name: name.to_owned(),
            created_ms,
        })
    }

    /// Lists the buckets of an account, by name.
    ///
    /// # Errors
    ///
    /// A failure of the index.
    pub fn buckets(&self, account: &str) -> Result<Vec<Bucket>, ObjectError> {
        self.read(|index| {
            let mut statement = index.prepare_cached(
                "SELECT name, created_ms FROM bucket WHERE account = ? ORDER BY name",
            )?;
            let rows = statement.query_map([account], |row| {
                Ok(Bucket {
                    name: row.get(0)?,
                    created_ms: row.get(1)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Removes an empty bucket. Unfinished uploads do not prevent that; they are removed too.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::BucketNotEmpty`] or a failure of the index.
    pub fn delete_bucket(&self, account: &str, name: &str) -> Result<(), ObjectError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        let parts = self.write(move |index| remove(index, &account, &name))?;
        self.blobs.remove(parts);
        Ok(())
    }
}

/// Removes an empty bucket with its uploads. Returns the blobs of their parts.
fn remove(index: &Connection, account: &str, name: &str) -> Result<Vec<String>, ObjectError> {
    let id = bucket_id(index, account, name)?;
    let has_objects: bool = index.query_row(
        "SELECT EXISTS (SELECT 1 FROM object WHERE bucket_id = ?)",
        [id],
        |row| row.get(0),
    )?;
    if has_objects {
        return Err(ObjectError::BucketNotEmpty);
    }
    let parts: Vec<String> = index
        .prepare(
            "SELECT blob FROM part WHERE upload_id IN (SELECT id FROM upload WHERE bucket_id = ?)",
        )?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    index.execute(
        "DELETE FROM part WHERE upload_id IN (SELECT id FROM upload WHERE bucket_id = ?)",
        [id],
    )?;
    index.execute("DELETE FROM upload WHERE bucket_id = ?", [id])?;
    index.execute("DELETE FROM bucket WHERE id = ?", [id])?;
    unnamed(index, parts)
}
