//! Uploads under way, listed by key.

use rusqlite::params;

use crate::error::ObjectError;
use crate::listing::roll_up;
use crate::object::Attributes;
use crate::store::{ObjectStore, bucket_id};

/// Which uploads of a bucket are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadsRequest {
    /// Keys that begin so.
    pub prefix: String,
    /// Rolls keys up at its first occurrence behind the prefix.
    pub delimiter: Option<String>,
    /// Uploads behind this key, or behind this id of this key.
    pub after: Option<(String, Option<String>)>,
    /// At most so many uploads and prefixes together.
    pub limit: usize,
}

/// An upload that has not been completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadUnderWay {
    /// The key of the object to be.
    pub key: String,
    /// Its id.
    pub id: String,
    /// What was said when it began.
    pub attributes: Attributes,
    /// When it began, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A part of the uploads of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadListing {
    /// Uploads by key and id.
    pub uploads: Vec<UploadUnderWay>,
    /// Rolled-up prefixes.
    pub prefixes: Vec<String>,
    /// Key and id of the last one given, when there is more; a prefix has no id.
    pub next: Option<(String, Option<String>)>,
}

impl ObjectStore {
    /// A part of the uploads that are under way in a bucket. Uploads are few: rolled-up ones are read one by one.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn uploads(
        &self,
        account: &str,
        bucket: &str,
        request: &UploadsRequest,
    ) -> Result<UploadListing, ObjectError> {
        self.read(|index| {
            let bucket_id = bucket_id(index, account, bucket)?;
            let mut statement = index.prepare_cached(
                "SELECT key, id, attributes, created_ms FROM upload
                 WHERE bucket_id = ?1 AND key >= ?2 AND (key > ?3 OR (key = ?3 AND id > ?4)) ORDER BY key, id",
            )?;
            let (key, id) = request.after.clone().unwrap_or_default();
            // Behind all ids of the key, unless one is named.
            let id = id.unwrap_or_else(|| char::MAX.to_string());
            let mut rows = statement.query(params![bucket_id, request.prefix, key, id])?;
            let mut listing = UploadListing::default();
            // Uploads below a prefix that was the last one given were given with it.
            let mut last = request.after.clone();
            while let Some(row) = rows.next()? {
                let key: String = row.get(0)?;
                if !key.starts_with(&request.prefix) {
                    break;
                }
                let rolled_up = roll_up(&request.prefix, request.delimiter.as_deref(), &key).map(str::to_owned);
                let is_given = last.as_ref().is_some_and(|(given, _)| rolled_up.as_ref() == Some(given));
                if is_given {
                    continue;
                }
                if listing.uploads.len() + listing.prefixes.len() >= request.limit {
                    listing.next = last;
                    break;
                }
                if let Some(prefix) = rolled_up {
                    last = Some((prefix.clone(), None));
                    listing.prefixes.push(prefix);
                    continue;
                }
                let id: String = row.get(1)?;
                last = Some((key.clone(), Some(id.clone())));
                let attributes: String = row.get(2)?;
                listing.uploads.push(UploadUnderWay {
                    key,
                    id,
                    attributes: serde_json::from_str(&attributes)?,
                    created_ms: row.get(3)?,
                });
            }
            Ok(listing)
        })
    }
}
