//! The store: the index in a database, and the directory of blobs.

use std::path::Path;

use hearth_sqlite::{Database, Options};
use rusqlite::{Connection, OptionalExtension, params};

use crate::blob::Blobs;
use crate::error::ObjectError;
use crate::quota::ObjectLimits;
use crate::schema;

impl From<hearth_sqlite::Error> for ObjectError {
    fn from(error: hearth_sqlite::Error) -> Self {
        match error {
            hearth_sqlite::Error::Newer { found, .. } => Self::UnknownVersion(found),
            other => Self::Index(other),
        }
    }
}

impl From<rusqlite::Error> for ObjectError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error.into())
    }
}

/// The object store.
#[derive(Debug)]
pub struct ObjectStore {
    index: Database,
    pub(crate) blobs: Blobs,
    pub(crate) limits: ObjectLimits,
}

impl ObjectStore {
    /// Opens the store in `directory` with the default limits.
    ///
    /// # Errors
    ///
    /// As [`ObjectStore::open_within`].
    pub fn open(directory: &Path) -> Result<Self, ObjectError> {
        Self::open_within(directory, ObjectLimits::default())
    }

    /// Opens the store in `directory`, which is created if it does not exist. Removes what a crash has left behind.
    ///
    /// # Errors
    ///
    /// The directory or the index cannot be opened, or the index was written by a later release.
    pub fn open_within(directory: &Path, limits: ObjectLimits) -> Result<Self, ObjectError> {
        std::fs::create_dir_all(directory)?;
        // Fully durable: once a client is answered, its object is kept.
        let options = Options::new(schema::STEPS);
        let index = Database::open(&directory.join("objects.db"), &options)?;
        let blobs = Blobs::open(&directory.join("blobs"))?;
        index.blocking_read(|db| remove_unnamed(db, &blobs))?;
        Ok(Self {
            index,
            blobs,
            limits,
        })
    }

    /// Runs a job that writes into the index, atomically. The job may run more than once.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        job: impl FnMut(&Connection) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        self.index.blocking_write(job)
    }

    /// Runs a query on the index. It waits neither for a writer nor for other readers, and sees one commit.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        self.index.blocking_read(query)
    }
}

/// Removes the blobs that the index does not refer to: a crash has left them.
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

/// The blobs among these that the index no longer refers to. Call it in the transaction that removes the references.
pub(crate) fn unnamed(
    index: &Connection,
    blobs: impl IntoIterator<Item = String>,
) -> Result<Vec<String>, ObjectError> {
    let mut named = index.prepare_cached(
        "SELECT 1 FROM object WHERE blob = ?1 UNION ALL SELECT 1 FROM part WHERE blob = ?1",
    )?;
    let mut unnamed = Vec::new();
    for blob in blobs {
        if !named.exists([&blob])? {
            unnamed.push(blob);
        }
    }
    Ok(unnamed)
}
