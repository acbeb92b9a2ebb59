//! Lists, a page at a time, by key: what is added or removed meanwhile shifts no page.

use std::fmt;
use std::str::FromStr;

use crate::id::IdError;

/// Where the next page goes on: the key of the last item seen, as text. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Longest text of a cursor: no key is longer.
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

/// Which page of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many items; at least one and at most [`PageRequest::MAX_LIMIT`] are given.
    pub limit: u32,
    /// Go on after this point; `None` starts at the beginning.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// Most items in one page: the greatest that any AWS list operation allows.
    pub const MAX_LIMIT: u32 = 100;

    /// The first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    pub(crate) fn bounded_limit(&self) -> u32 {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The page of a list of which one item more than `limit` was looked for.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> Cursor) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    /// The same page of something made from each item.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next: self.next,
        }
    }
}
