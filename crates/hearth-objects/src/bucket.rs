//! Buckets. Their names are unique in their account alone: accounts share nothing.

use rusqlite::{OptionalExtension, params};

use crate::store::{ObjectError, ObjectStore, bucket_id};

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

impl ObjectStore {
    /// Makes a bucket.
    ///
    /// # Errors
    ///
    /// [`ObjectError::BucketExists`] or a failure of the index.
    pub fn create_bucket(&self, account: &str, name: &str, now_ms: i64) -> Result<(), ObjectError> {
        let made = self.index().execute(
            "INSERT OR IGNORE INTO bucket (account, name, created_ms) VALUES (?, ?, ?)",
            params![account, name, now_ms],
        )?;
        if made == 0 {
            Err(ObjectError::BucketExists)
        } else {
            Ok(())
        }
    }

    /// One bucket.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn bucket(&self, account: &str, name: &str) -> Result<Bucket, ObjectError> {
        let index = self.index();
        let created_ms = index
            .prepare_cached("SELECT created_ms FROM bucket WHERE account = ? AND name = ?")?
            .query_row(params![account, name], |row| row.get(0))
            .optional()?
            .ok_or(ObjectError::NoBucket)?;
        Ok(Bucket {
            name: name.to_owned(),
            created_ms,
        })
    }

    /// The buckets of an account, by name.
    ///
    /// # Errors
    ///
    /// A failure of the index.
    pub fn buckets(&self, account: &str) -> Result<Vec<Bucket>, ObjectError> {
        let index = self.index();
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
    }

    /// Removes an empty bucket. Uploads that were never finished do not keep it.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::BucketNotEmpty`] or a failure of the index.
    pub fn delete_bucket(&self, account: &str, name: &str) -> Result<(), ObjectError> {
        let mut index = self.index();
        let transaction = index.transaction()?;
        let id = bucket_id(&transaction, account, name)?;
        let has_objects: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM object WHERE bucket_id = ?)",
            [id],
            |row| row.get(0),
        )?;
        if has_objects {
            return Err(ObjectError::BucketNotEmpty);
        }
        let parts: Vec<String> = transaction
            .prepare("SELECT blob FROM part WHERE upload_id IN (SELECT id FROM upload WHERE bucket_id = ?)")?
            .query_map([id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        transaction.execute("DELETE FROM upload WHERE bucket_id = ?", [id])?;
        transaction.execute("DELETE FROM bucket WHERE id = ?", [id])?;
        transaction.commit()?;
        self.blobs.remove(parts);
        Ok(())
    }
}
