//! Multipart uploads: parts are blobs of their own until they are joined.

use std::fs::File;
use std::io::{self, ErrorKind::NotFound};

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::blob::NewBlob;
use crate::object::{Attributes, Condition, NewObject, insert};
use crate::store::{ObjectError, ObjectStore, bucket_id};

/// Parts of one upload (S3's own bound).
pub const MAX_PARTS: i32 = 10_000;

/// Least size of every part but the last (S3's own bound).
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// How often parts are joined anew because one was replaced meanwhile. Whoever replaces them faster is answered with a
/// failure.
const JOIN_ATTEMPTS: u32 = 3;

/// Uploads that are removed in one transaction, each with up to [`MAX_PARTS`] parts.
const EXPIRED_AT_ONCE: i64 = 8;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from one.
    pub number: i32,
    /// How many bytes it has.
    pub size: u64,
    /// Its tag, without quotation marks.
    pub etag: String,
    /// When it came, in milliseconds since 1970.
    pub modified_ms: i64,
    blob: String,
}

/// An upload under way: whose, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload<'a> {
    /// The account.
    pub account: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The key of the object to be.
    pub key: &'a str,
    /// The id of the upload.
    pub id: &'a str,
}

impl ObjectStore {
    /// Begins an upload; gives its id.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn create_upload(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        attributes: &Attributes,
        now_ms: i64,
    ) -> Result<String, ObjectError> {
        let index = self.index();
        let bucket_id = bucket_id(&index, account, bucket)?;
        let id = Uuid::new_v4().simple().to_string();
        index.execute(
            "INSERT INTO upload (id, bucket_id, key, attributes, created_ms) VALUES (?, ?, ?, ?, ?)",
            params![id, bucket_id, key, serde_json::to_string(attributes)?, now_ms],
        )?;
        Ok(id)
    }

    /// Keeps a part, in place of the one that had its number.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`] or a failure of the index.
    pub fn put_part(
        &self,
        upload: Upload<'_>,
        number: i32,
        blob: NewBlob,
        size: u64,
        etag: &str,
        now_ms: i64,
    ) -> Result<(), ObjectError> {
        let mut index = self.index();
        let transaction = index.transaction()?;
        find(&transaction, upload)?;
        let replaced: Option<String> = transaction
            .query_row(
                "SELECT blob FROM part WHERE upload_id = ? AND number = ?",
                params![upload.id, number],
                |row| row.get(0),
            )
            .optional()?;
        transaction.execute(
            "INSERT OR REPLACE INTO part (upload_id, number, size, etag, modified_ms, blob)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![
                upload.id,
                number,
                i64::try_from(size).unwrap_or(i64::MAX),
                etag,
                now_ms,
                blob.name
            ],
        )?;
        transaction.commit()?;
        blob.keep();
        self.blobs.remove(replaced);
        Ok(())
    }

    /// The parts that have come, by number.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`] or a failure of the index.
    pub fn parts(&self, upload: Upload<'_>) -> Result<Vec<Part>, ObjectError> {
        let index = self.index();
        find(&index, upload)?;
        read_parts(&index, upload.id)
    }

    /// Joins the parts named (number and tag, in order) into the object, whose tag `join_etags` makes
    /// from those of the parts.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`], [`ObjectError::InvalidPart`], [`ObjectError::PartOrder`],
    /// [`ObjectError::PartTooSmall`], [`ObjectError::ConditionFailed`], or a failure of files or index.
    pub fn complete_upload(
        &self,
        upload: Upload<'_>,
        named: &[(i32, String)],
        join_etags: impl Fn(&[String]) -> String,
        condition: &Condition,
        now_ms: i64,
    ) -> Result<(String, u64), ObjectError> {
        let (chosen, blob, size) = self.join_named(upload, named)?;
        let etags: Vec<_> = chosen.iter().map(|part| part.etag.clone()).collect();
        let etag = join_etags(&etags);
        let mut index = self.index();
        let transaction = index.transaction()?;
        // Looked up again: the upload may have been ended while its parts were joined.
        let (bucket_id, attributes) = find(&transaction, upload)?;
        let object = NewObject {
            blob,
            size,
            etag: etag.clone(),
            attributes,
        };
        let replaced = insert(
            &transaction,
            bucket_id,
            upload.key,
            &object,
            condition,
            now_ms,
        )?;
        let parts = read_parts(&transaction, upload.id)?;
        transaction.execute("DELETE FROM upload WHERE id = ?", [upload.id])?;
        transaction.commit()?;
        object.blob.keep();
        self.blobs
            .remove(parts.into_iter().map(|part| part.blob).chain(replaced));
        Ok((etag, size))
    }

    /// Ends an upload and removes its parts.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`] or a failure of the index.
    pub fn abort_upload(&self, upload: Upload<'_>) -> Result<(), ObjectError> {
        let index = self.index();
        find(&index, upload)?;
        let parts = read_parts(&index, upload.id)?;
        index.execute("DELETE FROM upload WHERE id = ?", [upload.id])?;
        drop(index);
        self.blobs.remove(parts.into_iter().map(|part| part.blob));
        Ok(())
    }

    /// Joins the parts that a client names into a blob. Parts may be replaced, or the upload ended, while they are read;
    /// then its parts are looked up again.
    fn join_named(
        &self,
        upload: Upload<'_>,
        named: &[(i32, String)],
    ) -> Result<(Vec<Part>, NewBlob, u64), ObjectError> {
        let mut attempt = 1;
        loop {
            let chosen = choose(&self.parts(upload)?, named)?;
            let blob = self.new_blob()?;
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

    /// Removes one slice of the uploads to which nothing has come since a moment, with their parts, and says how many
    /// uploads they were; 0 when there are none. To be called until then.
    ///
    /// # Errors
    ///
    /// A failure of the index.
    pub fn expire_uploads(&self, silent_since_ms: i64) -> Result<usize, ObjectError> {
        let mut index = self.index();
        let transaction = index.transaction()?;
        let expired: Vec<String> = transaction
            .prepare_cached(
                "SELECT id FROM upload WHERE created_ms < ?1 AND NOT EXISTS
                   (SELECT 1 FROM part WHERE upload_id = id AND modified_ms >= ?1) LIMIT ?2",
            )?
            .query_map(params![silent_since_ms, EXPIRED_AT_ONCE], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut parts = Vec::new();
        for id in &expired {
            parts.extend(read_parts(&transaction, id)?);
            transaction.execute("DELETE FROM upload WHERE id = ?", [id])?;
        }
        transaction.commit()?;
        // Removing files takes long, and the index has forgotten them.
        drop(index);
        self.blobs.remove(parts.into_iter().map(|part| part.blob));
        Ok(expired.len())
    }
}

/// The bucket and the attributes of an upload that is under way for this bucket and key.
fn find(index: &Connection, upload: Upload<'_>) -> Result<(i64, Attributes), ObjectError> {
    let bucket_id = bucket_id(index, upload.account, upload.bucket)?;
    let attributes: Option<String> = index
        .prepare_cached("SELECT attributes FROM upload WHERE id = ? AND bucket_id = ? AND key = ?")?
        .query_row(params![upload.id, bucket_id, upload.key], |row| row.get(0))
        .optional()?;
    let attributes = attributes.ok_or(ObjectError::NoUpload)?;
    Ok((bucket_id, serde_json::from_str(&attributes)?))
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

/// The parts that a client names, held against those that came.
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
