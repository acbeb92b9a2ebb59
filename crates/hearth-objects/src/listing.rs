//! Listings: keys in byte order, where keys with a delimiter are rolled up to their common prefix.

use rusqlite::{Connection, params};

use crate::error::ObjectError;
use crate::object::{COLUMNS, Object, object_from_row};
use crate::store::{ObjectStore, bucket_id};

/// Rows fetched at once.
const CHUNK_ROWS: i64 = 1000;

/// A prefix followed by this character is greater than all keys below the prefix, except for keys that continue with
/// this character, and those roll up into the same prefix.
const LAST_CHARACTER: char = char::MAX;

/// A request for one page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingRequest {
    /// Only keys that begin with this text.
    pub prefix: String,
    /// Rolls up keys at the first occurrence of this text after the prefix.
    pub delimiter: Option<String>,
    /// Only keys and rolled-up prefixes after this one.
    pub after: Option<String>,
    /// The most keys and prefixes together.
    pub limit: usize,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects, by key.
    pub objects: Vec<Object>,
    /// Rolled-up prefixes.
    pub prefixes: Vec<String>,
    /// The last key or prefix of the page, if there are more.
    pub next: Option<String>,
}

impl ListingRequest {
    /// The prefix that a key rolls up into. `None` if it does not.
    fn roll_up<'a>(&self, key: &'a str) -> Option<&'a str> {
        roll_up(&self.prefix, self.delimiter.as_deref(), key)
    }

    /// The rolled-up prefix that the previous page ended with.
    fn given_prefix(&self) -> Option<&str> {
        let after = self.after.as_deref()?;
        let is_prefix = after.starts_with(&self.prefix) && self.roll_up(after) == Some(after);
        is_prefix.then_some(after)
    }

    /// Where the search begins: after `after`, and after all keys below it if it is a rolled-up prefix.
    fn start(&self) -> String {
        self.given_prefix()
            .map_or_else(|| self.after.clone().unwrap_or_default(), behind)
    }
}

/// The part of a key up to the first delimiter after the prefix, which the key has.
pub(crate) fn roll_up<'a>(prefix: &str, delimiter: Option<&str>, key: &'a str) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(prefix.len()..)?;
    key.get(..prefix.len() + rest.find(delimiter)? + delimiter.len())
}

fn behind(prefix: &str) -> String {
    format!("{prefix}{LAST_CHARACTER}")
}

impl ObjectStore {
    /// Returns one page of the objects of a bucket.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoBucket`] or a failure of the index.
    pub fn list(
        &self,
        account: &str,
        bucket: &str,
        request: &ListingRequest,
    ) -> Result<Listing, ObjectError> {
        self.read(|index| {
            let bucket_id = bucket_id(index, account, bucket)?;
            list(index, bucket_id, request)
        })
    }
}

fn list(
    index: &Connection,
    bucket_id: i64,
    request: &ListingRequest,
) -> Result<Listing, ObjectError> {
    let mut statement = index.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM object
         WHERE bucket_id = ? AND key >= ? AND key > ? ORDER BY key LIMIT ?"
    ))?;
    let mut listing = Listing::default();
    let mut last = request.given_prefix().map(str::to_owned);
    let mut start = request.start();
    'search: loop {
        let mut rows = statement.query(params![bucket_id, request.prefix, start, CHUNK_ROWS])?;
        let mut has_rows = false;
        while let Some(row) = rows.next()? {
            has_rows = true;
            let object = object_from_row(row)?;
            if !object.key.starts_with(&request.prefix) {
                break 'search;
            }
            let rolled_up = request.roll_up(&object.key).map(str::to_owned);
            // The prefix is in the page already: such keys continue with the last character.
            if rolled_up.is_some() && rolled_up == last {
                start = object.key;
                continue;
            }
            if listing.objects.len() + listing.prefixes.len() >= request.limit {
                listing.next = last;
                break 'search;
            }
            if let Some(prefix) = rolled_up {
                start = behind(&prefix);
                last = Some(prefix.clone());
                listing.prefixes.push(prefix);
                continue 'search;
            }
            start.clone_from(&object.key);
            last = Some(object.key.clone());
            listing.objects.push(object);
        }
        if !has_rows {
            break;
        }
    }
    Ok(listing)
}
