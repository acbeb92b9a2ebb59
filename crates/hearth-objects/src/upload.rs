//! Multipart uploads. Parts are blobs of their own until they are joined.

use std::fs::File;
use std::io::{self, ErrorKind::NotFound};

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::blob::NewBlob;
use crate::error::ObjectError;
use crate::object::{Attributes, ObjectRow, WriteCondition, insert};
use crate::quota::within;
use crate::store::{ObjectStore, bucket_id, unnamed};

/// Most parts of one upload (the limit of S3).
pub const MAX_PARTS: i32 = 10_000;

/// Smallest size of a part that is not the last (the limit of S3).
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// How often a join is retried because a part was replaced meanwhile. A client that replaces parts faster gets an
/// error.
const JOIN_ATTEMPTS: u32 = 3;

/// Uploads removed in one job of the index, each with up to [`MAX_PARTS`] parts.
const EXPIRED_AT_ONCE: i64 = 8;

/// One part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The part number, counted from one.
    pub number: i32,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, without quotation marks.
    pub etag: String,
    /// When the part was written, in milliseconds since 1970.
    pub modified_ms: i64,
    blob: String,
}

/// An upload under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartUpload<'a> {
    /// The account.
    pub account: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The key of the object to be written.
    pub key: &'a str,
    /// The id of the upload.
    pub id: &'a str,
}

/// A [`MultipartUpload`] that owns its texts, for a job of the writer.
struct OwnedUpload {
    account: String,
    bucket: String,
    key: String,
    id: String,
}

impl MultipartUpload<'_> {
    fn to_owned(self) -> OwnedUpload {
        OwnedUpload {
            account: self.account.to_owned(),
            bucket: self.bucket.to_owned(),
            key: self.key.to_owned(),
            id: self.id.to_owned(),
        }
    }
}

impl OwnedUpload {
    fn as_ref(&self) -> MultipartUpload<'_> {
        MultipartUpload {
            account: &self.account,
            bucket: &self.bucket,
            key: &self.key,
            id: &self.id,
        }
    }
}

impl ObjectStore {
    /// Creates an upload. Returns its id.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::AccountFull`] or a failure of the index.
    pub fn create_upload(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        attributes: &Attributes,
        now_ms: i64,
    ) -> Result<String, ObjectError> {
        let id = Uuid::new_v4().simple().to_string();
        let (account, bucket, key) = (account.to_owned(), bucket.to_owned(), key.to_owned());
        let attributes = serde_json::to_string(attributes)?;
        let (new_id, limits) = (id.clone(), self.limits.clone());
        self.write(move |index| {
            let bucket_id = bucket_id(index, &account, &bucket)?;
            within(index, &account, &limits, || {
                index.execute(
                    "INSERT INTO upload (id, bucket_id, key, attributes, created_ms) VALUES (?, ?, ?, ?, ?)",
                    params![new_id, bucket_id, key, attributes, now_ms],
                )?;
                Ok(())
            })
        })?;
        Ok(id)
    }

    /// Stores a part. Replaces the one with the same number.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`], [`ObjectError::AccountFull`] or a failure of the index.
    pub fn put_part(
        &self,
        upload: MultipartUpload<'_>,
        number: i32,
        blob: NewBlob,
        size: u64,
        etag: &str,
        now_ms: i64,
    ) -> Result<(), ObjectError> {
        let upload = upload.to_owned();
        let part = Part {
            number,
            size,
            etag: etag.to_owned(),
            modified_ms: now_ms,
            blob: blob.name.clone(),
        };
        let limits = self.limits.clone();
        let replaced = self.write(move |index| {
            find(index, upload.as_ref())?;
            let put = || insert_part(index, &upload.id, &part);
            let replaced = within(index, &upload.account, &limits, put)?;
            unnamed(index, replaced)
        })?;
        blob.keep();
        self.blobs.remove(replaced);
        Ok(())
    }

    /// Lists the parts of an upload, by number.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`] or a failure of the index.
    pub fn parts(&self, upload: MultipartUpload<'_>) -> Result<Vec<Part>, ObjectError> {
        self.read(|index| {
            find(index, upload)?;
            read_parts(index, upload.id)
        })
    }

    /// Joins the named parts (number and entity tag, in order) into the object. `join_etags` makes its entity tag
    /// from those of the parts.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`], [`ObjectError::InvalidPart`], [`ObjectError::PartOrder`],
    /// [`ObjectError::PartTooSmall`], [`ObjectError::ConditionFailed`], [`ObjectError::AccountFull`], or a failure of files or
    /// index.
    pub fn complete_upload(
        &self,
        upload: MultipartUpload<'_>,
        named: &[(i32, String)],
        join_etags: impl Fn(&[String]) -> String,
        condition: &WriteCondition,
        now_ms: i64,
    ) -> Result<(String, u64), ObjectError> {
        let (chosen, blob, size) = self.join_named(upload, named)?;
        let etags: Vec<_> = chosen.iter().map(|part| part.etag.clone()).collect();
        let etag = join_etags(&etags);
        let (upload, condition, limits) =
            (upload.to_owned(), condition.clone(), self.limits.clone());
        let (blob_name, object_etag) = (blob.name.clone(), etag.clone());
        let forgotten = self.write(move |index| {
            // Looked up again: the upload may have ended while its parts were joined.
            let (bucket_id, attributes) = find(index, upload.as_ref())?;
            let object = ObjectRow {
                key: upload.key.clone(),
                size,
                etag: object_etag.clone(),
                modified_ms: now_ms,
                attributes,
                blob: blob_name.clone(),
            };
            within(index, &upload.account, &limits, || {
                let replaced = insert(index, bucket_id, &object, &condition)?;
                let mut forgotten = remove(index, &upload.id)?;
                forgotten.extend(unnamed(index, replaced)?);
                Ok(forgotten)
            })
        })?;
        blob.keep();
        self.blobs.remove(forgotten);
        Ok((etag, size))
    }

    /// Ends an upload and removes its parts.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`] or a failure of the index.
    pub fn abort_upload(&self, upload: MultipartUpload<'_>) -> Result<(), ObjectError> {
        let upload = upload.to_owned();
        let parts = self.write(move |index| {
            find(index, upload.as_ref())?;
            remove(index, &upload.id)
        })?;
        self.blobs.remove(parts);
        Ok(())
    }

    /// Joins the parts that a client names into a blob. If parts are replaced or the upload ends while they are read,
    /// its parts are looked up again.
    fn join_named(
        &self,
        upload: MultipartUpload<'_>,
        named: &[(i32, String)],
    ) -> Result<(Vec<Part>, NewBlob, u64), ObjectError> {
        let mut attempt = 1;
        loop {
            let chosen = choose(&self.parts(upload)?, named)?;
            let blob = self.new_blob(upload.account)?;
            match self.join(&chosen, &blob) {
                Ok(size) => return Ok((chosen, blob, size)),
                Err(error) if error.kind() == NotFound && attempt < JOIN_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn join(&self, parts: &[Part], blob: &NewBlob) -> io::Result<u64> {
        let mut whole = File::create(blob.path())?;
        let mut size = 0;
        for part in parts {
            size += io::copy(&mut File::open(self.blobs.path(&part.blob))?, &mut whole)?;
        }
        whole.sync_all()?;
        Ok(size)
    }

    /// Removes one slice of the uploads that got no part since a time, with their parts. Returns the number of
    /// uploads removed. Call it until it returns 0.
    ///
    /// # Errors
    ///
    /// A failure of the index.
    pub fn expire_uploads(&self, silent_since_ms: i64) -> Result<usize, ObjectError> {
        let (expired, parts) = self.write(move |index| {
            let expired: Vec<String> = index
                .prepare_cached(
                    "SELECT id FROM upload WHERE created_ms < ?1 AND NOT EXISTS
                       (SELECT 1 FROM part WHERE upload_id = id AND modified_ms >= ?1) LIMIT ?2",
                )?
                .query_map(params![silent_since_ms, EXPIRED_AT_ONCE], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let mut parts = Vec::new();
            for id in &expired {
                parts.extend(remove(index, id)?);
            }
            Ok((expired.len(), parts))
        })?;
        self.blobs.remove(parts);
        Ok(expired)
    }
}

/// The bucket and the stored attributes of an upload under way for this bucket and key.
fn find(index: &Connection, upload: MultipartUpload<'_>) -> Result<(i64, String), ObjectError> {
    let bucket_id = bucket_id(index, upload.account, upload.bucket)?;
    let attributes = index
        .prepare_cached("SELECT attributes FROM upload WHERE id = ? AND bucket_id = ? AND key = ?")?
        .query_row(params![upload.id, bucket_id, upload.key], |row| row.get(0))
        .optional()?;
    Ok((bucket_id, attributes.ok_or(ObjectError::NoUpload)?))
}

/// Writes a part's row. Returns the blob of the part that it replaced.
fn insert_part(
    index: &Connection,
    upload: &str,
    part: &Part,
) -> Result<Option<String>, ObjectError> {
    let replaced = index
        .prepare_cached("SELECT blob FROM part WHERE upload_id = ? AND number = ?")?
        .query_row(params![upload, part.number], |row| row.get(0))
        .optional()?;
    index
        .prepare_cached(
            "INSERT INTO part (upload_id, number, size, etag, modified_ms, blob) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (upload_id, number) DO UPDATE SET size = excluded.size, etag = excluded.etag,
               modified_ms = excluded.modified_ms, blob = excluded.blob",
        )?
        .execute(params![
            upload,
            part.number,
            i64::try_from(part.size).unwrap_or(i64::MAX),
            part.etag,
            part.modified_ms,
            part.blob
        ])?;
    Ok(replaced)
}

/// Removes an upload with its parts. Returns their blobs.
fn remove(index: &Connection, upload: &str) -> Result<Vec<String>, ObjectError> {
    let parts = read_parts(index, upload)?;
    index.execute("DELETE FROM part WHERE upload_id = ?", [upload])?;
    index.execute("DELETE FROM upload WHERE id = ?", [upload])?;
    unnamed(index, parts.into_iter().map(|part| part.blob))
}

fn read_parts(index: &Connection, upload: &str) -> Result<Vec<Part>, ObjectError> {
    let mut statement = index.prepare_cached(
        "SELECT number, size, etag, modified_ms, blob FROM part WHERE upload_id = ? ORDER BY number",
    )?;
    let rows = statement.query_map([upload], |row| {
        Ok(Part {
            number: row.get(0)?,
            size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
            etag: row.get(2)?,
            modified_ms: row.get(3)?,
            blob: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The parts that a client names, checked against those that were uploaded.
fn choose(parts: &[Part], named: &[(i32, String)]) -> Result<Vec<Part>, ObjectError> {
    if named.is_empty() {
        return Err(ObjectError::InvalidPart);
    }
    if !named.is_sorted_by(|(left, _), (right, _)| left < right) {
        return Err(ObjectError::PartOrder);
    }
    let chosen: Vec<Part> = named
        .iter()
        .map(|(number, etag)| {
            let part = parts
                .iter()
                .find(|part| part.number == *number && part.etag == *etag);
            part.cloned().ok_or(ObjectError::InvalidPart)
        })
        .collect::<Result<_, _>>()?;
    let (_, all_but_last) = chosen.split_last().ok_or(ObjectError::InvalidPart)?;
    if all_but_last.iter().any(|part| part.size < MIN_PART_BYTES) {
        return Err(ObjectError::PartTooSmall);
    }
    Ok(chosen)
}
