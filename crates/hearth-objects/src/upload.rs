//! Multipart uploads. Parts are blobs of their own until they are joined.

use std::fs::File;
use std::io::{
    self,
    ErrorKind::{Interrupted, NotFound},
    Read as _, Write as _,
};

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::blob::NewBlob;
use crate::error::ObjectError;
use crate::object::{
    Attributes, Joined, ObjectPart, ObjectRow, WriteCondition, insert, joined_from_text,
};
use crate::quota::within;
use crate::store::{ObjectStore, bucket_id, unnamed};

/// Most parts of one upload (the limit of S3).
pub const MAX_PARTS: i32 = 10_000;

/// Smallest size of a part that is not the last (the limit of S3).
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// How often a join is retried because a part was replaced meanwhile. A client that replaces parts faster gets an
/// error.
const JOIN_ATTEMPTS: u32 = 3;

/// Bytes of a part that are read at once.
const JOINED_AT_ONCE: usize = 256 * 1024;

/// Uploads that are removed in one job of the index, each with up to [`MAX_PARTS`] parts.
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
    /// Its checksum in the algorithm of the upload, in base64; empty if the upload has none.
    pub checksum: String,
    blob: String,
}

/// Makes of parts what is said of their object. Made anew when parts have to be joined again.
pub trait Joiner {
    /// Takes the next bytes of the object.
    fn bytes(&mut self, bytes: &[u8]);

    /// Says the object's tag and its attributes, of its parts and the attributes of the upload.
    ///
    /// # Errors
    ///
    /// When the client states something else.
    fn describe(
        self,
        parts: &[Part],
        attributes: Attributes,
    ) -> Result<(String, Attributes), ObjectError>;
}

/// An upload that became an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The object's tag, without quotation marks.
    pub etag: String,
    /// What is said of the object.
    pub attributes: Attributes,
}

/// An upload under way: whose, and of what.
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

/// Parts in one blob.
struct Whole<J> {
    parts: Vec<Part>,
    blob: NewBlob,
    size: u64,
    joiner: J,
}

impl Part {
    fn of_object(&self) -> ObjectPart {
        ObjectPart {
            number: self.number,
            size: self.size,
            checksum: self.checksum.clone(),
        }
    }
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

    /// Keeps a part, in place of the one that had its number, with its tag and its checksum.
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
        (etag, checksum): (&str, &str),
        now_ms: i64,
    ) -> Result<(), ObjectError> {
        let upload = upload.to_owned();
        let part = Part {
            number,
            size,
            etag: etag.to_owned(),
            modified_ms: now_ms,
            checksum: checksum.to_owned(),
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

    /// What was said of an upload when it began.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`] or a failure of the index.
    pub fn upload_attributes(
        &self,
        upload: MultipartUpload<'_>,
    ) -> Result<Attributes, ObjectError> {
        let (_, attributes) = self.read(|index| find(index, upload))?;
        Ok(serde_json::from_str(&attributes)?)
    }

    /// Joins the parts named (number and tag, in order) into the object. Of two with one number the later counts. An upload that
    /// became the object which is there now is answered as it was.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoUpload`], [`ObjectError::InvalidPart`], [`ObjectError::PartOrder`], [`ObjectError::PartTooSmall`],
    /// [`ObjectError::ConditionFailed`], [`ObjectError::NoObject`], [`ObjectError::AccountFull`], what the joiner answers, or a
    /// failure of files or index.
    pub fn complete_upload<J: Joiner>(
        &self,
        upload: MultipartUpload<'_>,
        named: &[(i32, String)],
        joiner: impl Fn(&Attributes) -> J,
        condition: &WriteCondition,
        now_ms: i64,
    ) -> Result<Completed, ObjectError> {
        let begun = match self.upload_attributes(upload) {
            Err(ObjectError::NoUpload) => return self.completed_before(upload),
            other => other?,
        };
        let Whole {
            parts,
            blob,
            size,
            joiner,
        } = self.join_named(upload, named, || joiner(&begun))?;
        let (etag, attributes) = joiner.describe(&parts, begun)?;
        let completed = Completed { etag, attributes };
        let joined = Joined {
            upload: upload.id.to_owned(),
            parts: parts.iter().map(Part::of_object).collect(),
        };
        let object = ObjectRow {
            key: upload.key.to_owned(),
            size,
            etag: completed.etag.clone(),
            modified_ms: now_ms,
            attributes: serde_json::to_string(&completed.attributes)?,
            blob: blob.name.clone(),
            joined: serde_json::to_string(&joined)?,
        };
        let (upload, condition, limits) =
            (upload.to_owned(), condition.clone(), self.limits.clone());
        let forgotten = self.write(move |index| {
            // Looked up again: the upload may have been ended while its parts were joined.
            let (bucket_id, _) = find(index, upload.as_ref())?;
            within(index, &upload.account, &limits, || {
                let replaced = insert(index, bucket_id, &object, &condition)?;
                let mut forgotten = remove(index, &upload.id)?;
                forgotten.extend(unnamed(index, replaced)?);
                Ok(forgotten)
            })
        })?;
        blob.keep();
        self.blobs.remove(forgotten);
        Ok(completed)
    }

    /// The object that an upload became, if it is still there.
    fn completed_before(&self, upload: MultipartUpload<'_>) -> Result<Completed, ObjectError> {
        self.read(|index| {
            let bucket_id = bucket_id(index, upload.account, upload.bucket)?;
            let mut query = index.prepare_cached(
                "SELECT etag, attributes, joined FROM object WHERE bucket_id = ? AND key = ?",
            )?;
            let row = query.query_row(params![bucket_id, upload.key], |row| {
                Ok((
                    row.get(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                ))
            });
            let (etag, attributes, joined) = row.optional()?.ok_or(ObjectError::NoUpload)?;
            if joined_from_text(&joined)?.upload != upload.id {
                return Err(ObjectError::NoUpload);
            }
            Ok(Completed {
                etag,
                attributes: serde_json::from_str(&attributes)?,
            })
        })
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

    /// Joins the parts that a client names into a blob. Parts may be replaced, or the upload ended, while they are read;
    /// then its parts are looked up again.
    fn join_named<J: Joiner>(
        &self,
        upload: MultipartUpload<'_>,
        named: &[(i32, String)],
        new_joiner: impl Fn() -> J,
    ) -> Result<Whole<J>, ObjectError> {
        let mut attempt = 1;
        loop {
            let parts = choose(&self.parts(upload)?, named)?;
            let blob = self.new_blob(upload.account)?;
            let mut joiner = new_joiner();
            match self.join(&parts, &blob, &mut joiner) {
                Ok(size) => {
                    return Ok(Whole {
                        parts,
                        blob,
                        size,
                        joiner,
                    });
                }
                Err(error) if error.kind() == NotFound && attempt < JOIN_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn join(&self, parts: &[Part], blob: &NewBlob, joiner: &mut impl Joiner) -> io::Result<u64> {
        let mut whole = File::create(blob.path())?;
        let mut piece = vec![0; JOINED_AT_ONCE];
        let mut size = 0;
        for part in parts {
            let mut file = File::open(self.blobs.path(&part.blob))?;
            loop {
                let length = match file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => length,
                    Err(error) if error.kind() == Interrupted => continue,
                    Err(error) => return Err(error),
                };
                let bytes = &piece[..length];
                joiner.bytes(bytes);
                whole.write_all(bytes)?;
                size += length as u64;
            }
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
            "INSERT INTO part (upload_id, number, size, etag, modified_ms, checksum, blob) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (upload_id, number) DO UPDATE SET size = excluded.size, etag = excluded.etag,
               modified_ms = excluded.modified_ms, checksum = excluded.checksum, blob = excluded.blob",
        )?
        .execute(params![
            upload,
            part.number,
            i64::try_from(part.size).unwrap_or(i64::MAX),
            part.etag,
            part.modified_ms,
            part.checksum,
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
        "SELECT number, size, etag, modified_ms, checksum, blob FROM part WHERE upload_id = ? ORDER BY number",
    )?;
    let rows = statement.query_map([upload], |row| {
        Ok(Part {
            number: row.get(0)?,
            size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
            etag: row.get(2)?,
            modified_ms: row.get(3)?,
            checksum: row.get(4)?,
            blob: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The parts that a client names, checked against those that were uploaded.
fn choose(parts: &[Part], named: &[(i32, String)]) -> Result<Vec<Part>, ObjectError> {
    if named.is_empty() {
        return Err(ObjectError::InvalidPart);
    }
    if !named.is_sorted_by_key(|(number, _)| *number) {
        return Err(ObjectError::PartOrder);
    }
    let mut next = named.iter().skip(1);
    let last_of_number = named.iter().filter(|(number, _)| {
        let next = next.next().map(|(next, _)| next);
        next != Some(number)
    });
    let chosen: Vec<Part> = last_of_number
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
