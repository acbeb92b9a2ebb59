//! A tree of files in memory: names and attributes. What a file contains is the business of who wrote the tree.

use std::collections::BTreeMap;

/// Longest name of one file, in bytes (`NAME_MAX`).
const MAX_NAME_BYTES: usize = 255;

/// A directory tree whose files contain `C`.
#[derive(Debug)]
pub(crate) struct Tree<C>(Item<C>);

/// A file, a directory or a link.
#[derive(Debug)]
pub(crate) enum Item<C> {
    /// A file.
    File {
        /// Owner, permissions and time.
        attributes: Attributes,
        /// Its size in bytes.
        bytes: u64,
        /// What is in it.
        content: C,
    },
    /// A directory.
    Directory {
        /// Owner, permissions and time.
        attributes: Attributes,
        /// What is in it, by name.
        children: BTreeMap<Vec<u8>, Item<C>>,
    },
    /// A symbolic link.
    Link {
        /// Owner and time; a link has no permissions of its own.
        attributes: Attributes,
        /// Where it leads.
        target: Vec<u8>,
    },
}

/// Owner, permissions and time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits.
    pub(crate) permissions: u16,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Time of the last change, in seconds since 1970.
    pub(crate) modified: u64,
}

/// A path that cannot be in a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// A part of it is empty, `.`, `..`, or longer than Linux allows.
    #[error("a part of the path {0} is no name of a file")]
    Name(String),
}

impl Attributes {
    /// Those of root.
    pub(crate) fn of_root(permissions: u16, modified: u64) -> Self {
        Self {
            permissions,
            uid: 0,
            gid: 0,
            modified,
        }
    }
}

impl<C> Tree<C> {
    /// A tree with an empty root directory.
    pub(crate) fn new(attributes: Attributes) -> Self {
        Self(Item::Directory {
            attributes,
            children: BTreeMap::new(),
        })
    }

    pub(crate) fn root(&self) -> &Item<C> {
        &self.0
    }

    /// Puts `item` at `path`, whose parts are separated by slashes. What is there already is replaced, except that a
    /// directory keeps its content and takes the attributes. A missing directory above is made with the attributes
    /// `missing`, in the place of a file or link with its name: nothing is put through a link.
    pub(crate) fn put(
        &mut self,
        path: &[u8],
        item: Item<C>,
        missing: Attributes,
    ) -> Result<(), PathError> {
        let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let is_name = |part: &&[u8]| {
            !matches!(*part, b"" | b"." | b"..")
                && part.len() <= MAX_NAME_BYTES
                && !part.contains(&0)
        };
        if !parts.iter().all(is_name) {
            return Err(PathError::Name(String::from_utf8_lossy(path).into_owned()));
        }
        let name = parts.pop().unwrap_or_default();
        let mut directory = self.0.children_or(missing);
        for part in parts {
            directory = directory
                .entry(part.to_vec())
                .or_insert_with(|| Item::empty(missing))
                .children_or(missing);
        }
        match (directory.get_mut(name), item) {
            (
                Some(Item::Directory { attributes, .. }),
                Item::Directory {
                    attributes: new, ..
                },
            ) => {
                *attributes = new;
            }
            (_, item) => drop(directory.insert(name.to_vec(), item)),
        }
        Ok(())
    }
}

impl<C> Item<C> {
    /// An empty directory.
    pub(crate) fn empty(attributes: Attributes) -> Self {
        Self::Directory {
            attributes,
            children: BTreeMap::new(),
        }
    }

    /// The content of a directory. Anything else becomes an empty directory.
    fn children_or(&mut self, attributes: Attributes) -> &mut BTreeMap<Vec<u8>, Self> {
        if !matches!(self, Self::Directory { .. }) {
            *self = Self::empty(attributes);
        }
        match self {
            Self::Directory { children, .. } => children,
            // It was made one above.
            Self::File { .. } | Self::Link { .. } => unreachable!(),
        }
    }
}
