//! Objects: a key, a blob, and attributes from HTTP headers.

use std::collections::BTreeMap;
use std::fs::File;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::blob::NewBlob;
use crate::error::ObjectError;
use crate::quota::{kept_bytes, within};
use crate::store::{ObjectStore, bucket_id, unnamed};

/// The attributes of an object besides its bytes. Stored in the index as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Standard headers, such as `content-type`, and checksums, such as `x-amz-checksum-crc32`.
    pub headers: BTreeMap<String, String>,
    /// The user metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Tags, in the order in which they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
}

/// A part that an object was joined of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPart {
    /// Its number, from one.
    pub number: i32,
    /// How many bytes it has.
    pub size: u64,
    /// Its checksum in the algorithm of the upload, in base64; empty if the upload had none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub checksum: String,
}

/// What an object was joined of. Written into the index as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// The id of the upload: who completes it again is answered as before.
    pub(crate) upload: String,
    pub(crate) parts: Vec<ObjectPart>,
}

/// A new object.
#[derive(Debug)]
pub struct NewObject {
    /// The bytes, written and synced.
    pub blob: NewBlob,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, without quotation marks.
    pub etag: String,
    /// The attributes.
    pub attributes: Attributes,
}

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The key.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, without quotation marks.
    pub etag: String,
    /// When the object was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// The attributes.
    pub attributes: Attributes,
    /// The parts that it was joined of, by number; none of an object that came whole. Listings leave them out.
    pub parts: Vec<ObjectPart>,
}

/// A condition for writing an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCondition {
    /// No condition.
    Always,
    /// No object has this key.
    Absent,
    /// The object exists and has this entity tag, or any tag for `None`.
    Present(Option<String>),
    /// There is no object with this tag.
    Differs(String),
}

/// The existing object that a condition is checked against.
struct Existing {
    blob: String,
    etag: String,
}

fn existing(
    index: &Connection,
    bucket_id: i64,
    key: &str,
) -> Result<Option<Existing>, ObjectError> {
    let mut query =
        index.prepare_cached("SELECT blob, etag FROM object WHERE bucket_id = ? AND key = ?")?;
    let existing = query.query_row(params![bucket_id, key], |row| {
        Ok(Existing {
            blob: row.get(0)?,
            etag: row.get(1)?,
        })
    });
    Ok(existing.optional()?)
}

impl WriteCondition {
    /// Fails if the condition does not hold: with [`ObjectError::NoObject`] where it asks for an object that is not there.
    fn check(&self, existing: Option<&Existing>) -> Result<(), ObjectError> {
        let holds = match (self, existing) {
            (Self::Present(_), None) => return Err(ObjectError::NoObject),
            (Self::Always, _) | (Self::Absent | Self::Differs(_), None) => true,
            (Self::Present(wanted), Some(existing)) => wanted
                .as_ref()
                .is_none_or(|wanted| *wanted == existing.etag),
            (Self::Differs(unwanted), Some(existing)) => *unwanted != existing.etag,
            (Self::Absent, Some(_)) => false,
        };
        if holds {
            Ok(())
        } else {
            Err(ObjectError::ConditionFailed)
        }
    }
}

/// A copy within one account.
#[derive(Clone, Debug)]
pub struct ObjectCopy<'a> {
    /// Bucket and key of the source.
    pub source: (&'a str, &'a str),
    /// Bucket and key of the copy.
    pub target: (&'a str, &'a str),
    /// Headers and metadata of the copy; those of the object without. Checksums are of the bytes, and stay.
    pub attributes: Option<Attributes>,
    /// Headers that a copy never takes over, with what it has in their place.
    pub own_headers: BTreeMap<String, Option<String>>,
    /// Tags of the copy; those of the object without.
    pub tags: Option<Vec<(String, String)>>,
    /// What must hold at the target.
    pub condition: WriteCondition,
}

/// The columns that [`object_from_row`] reads.
pub(crate) const COLUMNS: &str = "key, size, etag, modified_ms, attributes, blob";

/// What the names of the headers begin with that tell checksums of an object's bytes.
const CHECKSUM: &str = "x-amz-checksum-";

impl ObjectStore {
    /// Creates a blob for bytes that an account will receive.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, or the index failed.
    pub fn new_blob(&self, account: &str) -> Result<NewBlob, ObjectError> {
        let kept_bytes = self.read(|index| kept_bytes(index, account))?;
        let room_bytes = self.limits.bytes_of(account).saturating_sub(kept_bytes);
        Ok(self.blobs.create(account, room_bytes)?)
    }

    /// Stores an object under a key. Replaces the one that was there.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::ConditionFailed`], [`ObjectError::AccountFull`] or a failure of the index.
    pub fn put(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        object: NewObject,
        condition: &WriteCondition,
        now_ms: i64,
    ) -> Result<(), ObjectError> {
        let row = ObjectRow {
            key: key.to_owned(),
            size: object.size,
            etag: object.etag,
            modified_ms: now_ms,
            attributes: serde_json::to_string(&object.attributes)?,
            blob: object.blob.name.clone(),
            joined: String::new(),
        };
        let (account, bucket) = (account.to_owned(), bucket.to_owned());
        let (condition, limits) = (condition.clone(), self.limits.clone());
        let replaced = self.write(move |index| {
            let bucket_id = bucket_id(index, &account, &bucket)?;
            let put = || insert(index, bucket_id, &row, &condition);
            let replaced = within(index, &account, &limits, put)?;
            unnamed(index, replaced)
        })?;
        object.blob.keep();
        self.blobs.remove(replaced);
        Ok(())
    }

    /// Copies an object of an account, if `judge` accepts the source. The copy shares the bytes, so the time does not
    /// depend on the size.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or [`ObjectError::NoObject`] for the source, the error of `judge`, and the errors of
    /// [`ObjectStore::put`].
    pub fn copy(
        &self,
        account: &str,
        copy: ObjectCopy<'_>,
        judge: impl Fn(&Object) -> Result<(), ObjectError> + Send + 'static,
        now_ms: i64,
    ) -> Result<Object, ObjectError> {
        let ObjectCopy {
            source: (source_bucket, source_key),
            target: (bucket, key),
            attributes,
            own_headers,
            tags,
            condition,
        } = copy;
        let may_be_same = copy.source == copy.target && attributes.is_none() && tags.is_none();
        let account = account.to_owned();
        let (source_bucket, source_key) = (source_bucket.to_owned(), source_key.to_owned());
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let limits = self.limits.clone();
        let (copied, replaced) = self.write(move |index| {
            let (source, blob) = find(index, &account, &source_bucket, &source_key)?;
            judge(&source)?;
            let before = source.attributes.clone();
            let mut attributes = described(source.attributes, attributes.as_ref(), tags.as_ref());
            for (name, value) in &own_headers {
                match value {
                    Some(value) => attributes.headers.insert(name.clone(), value.clone()),
                    None => attributes.headers.remove(name),
                };
            }
            if may_be_same && attributes == before {
                return Err(ObjectError::CopyToItself);
            }
            let row = ObjectRow {
                key: key.clone(),
                size: source.size,
                etag: source.etag.clone(),
                modified_ms: now_ms,
                attributes: serde_json::to_string(&attributes)?,
                blob,
                joined: String::new(),
            };
            let bucket_id = bucket_id(index, &account, &bucket)?;
            let put = || insert(index, bucket_id, &row, &condition);
            let replaced = within(index, &account, &limits, put)?;
            let copied = Object {
                key: row.key,
                size: row.size,
                etag: row.etag,
                modified_ms: now_ms,
                attributes,
                parts: Vec::new(),
            };
            Ok((copied, unnamed(index, replaced)?))
        })?;
        self.blobs.remove(replaced);
        Ok(copied)
    }

    /// Returns one object.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::NoObject`] or a failure of the index.
    pub fn object(&self, account: &str, bucket: &str, key: &str) -> Result<Object, ObjectError> {
        let (object, _) = self.read(|index| find(index, account, bucket, key))?;
        Ok(object)
    }

    /// Opens one object. The file stays readable when the object is replaced or deleted.
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
        // Looked up and opened together, so that the blob is not removed in between.
        self.blobs.while_opening(|| {
            let (object, blob) = self.read(|index| find(index, account, bucket, key))?;
            let file = File::open(self.blobs.path(&blob))?;
            Ok((object, file))
        })
    }

    /// Replaces the tags of an object. It stays the same object: neither its tag for HTTP nor its time changes.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::NoObject`], [`ObjectError::AccountFull`] or a failure of the index.
    pub fn set_tags(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        tags: &[(String, String)],
    ) -> Result<(), ObjectError> {
        let (account, bucket, key) = (account.to_owned(), bucket.to_owned(), key.to_owned());
        let (tags, limits) = (tags.to_vec(), self.limits.clone());
        self.write(move |index| {
            let (mut object, _) = find(index, &account, &bucket, &key)?;
            object.attributes.tags.clone_from(&tags);
            let attributes = serde_json::to_string(&object.attributes)?;
            let bucket_id = bucket_id(index, &account, &bucket)?;
            within(index, &account, &limits, || {
                let mut update = index.prepare_cached(
                    "UPDATE object SET attributes = ? WHERE bucket_id = ? AND key = ?",
                )?;
                update.execute(params![attributes, bucket_id, key])?;
                Ok(())
            })
        })
    }

    /// Removes an object. Succeeds if it does not exist.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn delete(&self, account: &str, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.delete_if(account, bucket, key, &WriteCondition::Always)
    }

    /// Removes an object if `condition` holds. Succeeds if the object does not exist.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`], [`ObjectError::ConditionFailed`] or a failure of the index.
    pub fn delete_if(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        condition: &WriteCondition,
    ) -> Result<(), ObjectError> {
        let (account, bucket, key) = (account.to_owned(), bucket.to_owned(), key.to_owned());
        let condition = condition.clone();
        let blob = self.write(move |index| {
            let bucket_id = bucket_id(index, &account, &bucket)?;
            let existing = existing(index, bucket_id, &key)?;
            if existing.is_some() {
                condition.check(existing.as_ref())?;
            }
            let mut delete = index.prepare_cached(
                "DELETE FROM object WHERE bucket_id = ? AND key = ? RETURNING blob",
            )?;
            let blob: Option<String> = delete
                .query_row(params![bucket_id, key], |row| row.get(0))
                .optional()?;
            unnamed(index, blob)
        })?;
        self.blobs.remove(blob);
        Ok(())
    }
}

/// What is said of a copy.
fn described(
    source: Attributes,
    attributes: Option<&Attributes>,
    tags: Option<&Vec<(String, String)>>,
) -> Attributes {
    let mut described = match attributes {
        None => source,
        Some(given) => {
            let mut headers = given.headers.clone();
            let checksums = source.headers.into_iter();
            headers.extend(checksums.filter(|(name, _)| name.starts_with(CHECKSUM)));
            Attributes {
                headers,
                metadata: given.metadata.clone(),
                tags: source.tags,
            }
        }
    };
    if let Some(tags) = tags {
        described.tags.clone_from(tags);
    }
    described
}

/// An object and the name of its blob.
pub(crate) fn find(
    index: &Connection,
    account: &str,
    bucket: &str,
    key: &str,
) -> Result<(Object, String), ObjectError> {
    let bucket_id = bucket_id(index, account, bucket)?;
    let mut statement = index.prepare_cached(&format!(
        "SELECT {COLUMNS}, joined FROM object WHERE bucket_id = ? AND key = ?"
    ))?;
    let mut rows = statement.query(params![bucket_id, key])?;
    let row = rows.next()?.ok_or(ObjectError::NoObject)?;
    let joined: String = row.get(6)?;
    let object = Object {
        parts: joined_from_text(&joined)?.parts,
        ..object_from_row(row)?
    };
    Ok((object, row.get(5)?))
}

/// What an object was joined of, as its row says it.
pub(crate) fn joined_from_text(text: &str) -> Result<Joined, ObjectError> {
    match text {
        "" => Ok(Joined::default()),
        text => Ok(serde_json::from_str(text)?),
    }
}

pub(crate) fn object_from_row(row: &Row<'_>) -> Result<Object, ObjectError> {
    let attributes: String = row.get(4)?;
    Ok(Object {
        key: row.get(0)?,
        size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
        etag: row.get(2)?,
        modified_ms: row.get(3)?,
        attributes: serde_json::from_str(&attributes)?,
        parts: Vec::new(),
    })
}

/// An object as a row of the index.
pub(crate) struct ObjectRow {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    /// The stored form of the [`Attributes`].
    pub(crate) attributes: String,
    /// The name of the blob.
    pub(crate) blob: String,
    /// The stored form of [`Joined`]; empty of an object that came whole.
    pub(crate) joined: String,
}

/// Writes an object's row if `condition` holds. Returns the blob that it replaced.
pub(crate) fn insert(
    index: &Connection,
    bucket_id: i64,
    object: &ObjectRow,
    condition: &WriteCondition,
) -> Result<Option<String>, ObjectError> {
    let existing = existing(index, bucket_id, &object.key)?;
    condition.check(existing.as_ref())?;
    index
        .prepare_cached(
            "INSERT INTO object (bucket_id, key, size, etag, modified_ms, attributes, blob, joined)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (bucket_id, key) DO UPDATE SET size = excluded.size, etag = excluded.etag,
               modified_ms = excluded.modified_ms, attributes = excluded.attributes, blob = excluded.blob,
               joined = excluded.joined",
        )?
        .execute(params![
            bucket_id,
            object.key,
            i64::try_from(object.size).unwrap_or(i64::MAX),
            object.etag,
            object.modified_ms,
            object.attributes,
            object.blob,
            object.joined
        ])?;
    Ok(existing.map(|existing| existing.blob))
}
