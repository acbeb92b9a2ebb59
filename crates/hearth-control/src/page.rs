//! Paginated lists. Pages continue by key, so items that are added or removed meanwhile shift no page.

use std::fmt;
use std::str::FromStr;

use crate::id::IdError;

/// The position of the next page: the key of the last item of this one, as text. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Longest cursor in bytes: no key is longer.
    const MAX_BYTES: usize = 256;

    pub(crate) fn new(key: &impl ToString) -> Self {
        Self(key.to_string())
    }

    pub(crate) fn key(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(IdError { kind: "cursor" });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A request for one page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The most items to return, from 1 to [`PageRequest::MAX_LIMIT`]. Other values are clamped.
    pub limit: u32,
    /// The cursor of the page before. `None` asks for the first page.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// Most items in one page: the largest number that any AWS list operation allows.
    pub const MAX_LIMIT: u32 = 100;

    /// A request for the first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    pub(crate) fn bounded_limit(&self) -> u32 {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The cursor of the next page. `None` on the last page.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of `limit` items from items of which one more than `limit` was read.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> Cursor) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    /// Converts each item of the page.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next: self.next,
        }
    }
}
