//! Writes read-only file systems in the format EROFS, as a guest mounts them.
//!
//! Code of functions becomes a disk on each host that runs it, within the first invocation. So the writer is here and
//! needs neither a program of the host nor a microVM. The output depends on the tree alone: the same tree gives the
//! same bytes.
//!
//! ```text
//! 0     1024         1152                    block                           block
//! +-----+------------+-----------------------+-------------------------------+----
//! |     | superblock | inodes, 64 bytes each | data of the first inode ...   | of the next ...
//! +-----+------------+-----------------------+-------------------------------+----
//! ```
//!
//! (Linux, `fs/erofs/erofs_fs.h`.) The simplest of the format's layouts is used: extended inodes, and data in whole
//! blocks without compression. The kernel reads it without a copy, and Linux has known it since 5.4.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

mod tree;
mod walk;

pub(crate) use tree::{Attributes, Item, PathError, Tree};
pub(crate) use walk::{WalkError, walk};

/// Size of a block. The kernel wants at most a page.
const BLOCK_BYTES: usize = 4096;

const SUPERBLOCK_OFFSET: usize = 1024;
const SUPERBLOCK_BYTES: usize = 128;
const MAGIC: u32 = 0xE0F5_E1E2;

/// Where inodes begin. From here on no inode crosses a block.
const INODES_OFFSET: usize = SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES;
const INODE_BYTES: usize = 64;

/// Unit in which inodes are numbered by their place.
const SLOT_BYTES: usize = 32;

/// `i_format` of an extended inode whose data lies in whole blocks (`EROFS_INODE_FLAT_PLAIN`).
const EXTENDED_PLAIN: u16 = 1;

const ENTRY_BYTES: usize = 12;

/// Types of directory entries (`EROFS_FT_REG_FILE` and so on).
const TYPE_FILE: u8 = 1;
const TYPE_DIRECTORY: u8 = 2;
const TYPE_LINK: u8 = 7;

/// File types in modes (inode(7)).
const MODE_FILE: u16 = 0o100_000;
const MODE_DIRECTORY: u16 = 0o040_000;
const MODE_LINK: u16 = 0o120_000;

/// Why a file system was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError<E> {
    /// It is larger than the format can address.
    #[error("the tree is larger than a file system of this kind can be")]
    TooLarge,
    /// The image cannot be written.
    #[error("cannot write the file system")]
    Sink(#[source] io::Error),
    /// The content of a file cannot be read.
    #[error(transparent)]
    Content(E),
    /// A file has another size than the tree says.
    #[error("a file has {found} bytes instead of {expected}")]
    Length {
        /// Bytes that the tree says.
        expected: u64,
        /// Bytes that were read.
        found: u64,
    },
}

/// Writes `tree` to `sink`. `copy` writes the content of a file. Blocks.
pub(crate) fn write<C, E>(
    tree: &Tree<C>,
    sink: impl Write,
    mut copy: impl FnMut(&C, &mut dyn Write) -> Result<(), E>,
) -> Result<(), WriteError<E>> {
    let plan = Plan::of(tree).ok_or(WriteError::TooLarge)?;
    let mut sink = Padded { sink, written: 0 };
    sink.write_all(&plan.metadata()).map_err(WriteError::Sink)?;
    for inode in &plan.inodes {
        sink.pad().map_err(WriteError::Sink)?;
        match inode.item {
            Item::Directory { .. } => {
                let listing = plan.listing(inode);
                sink.write_all(&listing).map_err(WriteError::Sink)?;
            }
            Item::Link { target, .. } => sink.write_all(target).map_err(WriteError::Sink)?,
            Item::File { bytes, content, .. } => {
                let before = sink.written;
                copy(content, &mut sink).map_err(WriteError::Content)?;
                let found = sink.written - before;
                if found != *bytes {
                    return Err(WriteError::Length {
                        expected: *bytes,
                        found,
                    });
                }
            }
        }
    }
    sink.pad().map_err(WriteError::Sink)?;
    sink.sink.flush().map_err(WriteError::Sink)
}

/// Where everything goes.
struct Plan<'a, C> {
    /// All inodes, the root first, each directory before what is in it.
    inodes: Vec<Inode<'a, C>>,
    blocks: u32,
}

struct Inode<'a, C> {
    item: &'a Item<C>,
    index: usize,
    parent: usize,
    /// Names and inodes of a directory's entries.
    children: Vec<(&'a [u8], usize)>,
    bytes: u64,
    /// First block of its data.
    block: u32,
}

impl<'a, C> Plan<'a, C> {
    /// `None` for a tree that is too large.
    fn of(tree: &'a Tree<C>) -> Option<Self> {
        let mut inodes = number(tree.root());
        let metadata = INODES_OFFSET + inodes.len() * INODE_BYTES;
        let mut block = u32::try_from(metadata.div_ceil(BLOCK_BYTES)).ok()?;
        for inode in &mut inodes {
            inode.bytes = match inode.item {
                Item::Directory { .. } => listing_bytes(&inode.children),
                Item::Link { target, .. } => target.len() as u64,
                Item::File { bytes, .. } => *bytes,
            };
            inode.block = block;
            let blocks = inode.bytes.div_ceil(BLOCK_BYTES as u64);
            block = block.checked_add(u32::try_from(blocks).ok()?)?;
        }
        Some(Self {
            inodes,
            blocks: block,
        })
    }

    /// Everything before the first block of data.
    fn metadata(&self) -> Vec<u8> {
        let mut bytes = vec![0; SUPERBLOCK_OFFSET];
        bytes.extend(self.superblock());
        for inode in &self.inodes {
            bytes.extend(self.inode(inode));
        }
        bytes
    }

    fn superblock(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        // The features, checksum, build time and labels are zero: nothing beyond the first version of the format.
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[12] = BLOCK_BYTES.trailing_zeros() as u8;
        bytes[14..16].copy_from_slice(&(place(0) as u16).to_le_bytes());
        bytes[16..24].copy_from_slice(&(self.inodes.len() as u64).to_le_bytes());
        bytes[36..40].copy_from_slice(&self.blocks.to_le_bytes());
        bytes
    }

    fn inode(&self, inode: &Inode<'_, C>) -> [u8; INODE_BYTES] {
        let (attributes, kind, links) = match inode.item {
            Item::Directory { attributes, .. } => {
                let is_directory = |(_, child): &&(&[u8], usize)| {
                    kind_of(self.inodes[*child].item) == TYPE_DIRECTORY
                };
                let below = inode.children.iter().filter(is_directory).count();
                (attributes, MODE_DIRECTORY, 2 + below as u32)
            }
            Item::File { attributes, .. } => (attributes, MODE_FILE, 1),
            Item::Link { attributes, .. } => (attributes, MODE_LINK, 1),
        };
        let mut bytes = [0; INODE_BYTES];
        bytes[0..2].copy_from_slice(&EXTENDED_PLAIN.to_le_bytes());
        bytes[4..6].copy_from_slice(&(kind | attributes.permissions).to_le_bytes());
        bytes[8..16].copy_from_slice(&inode.bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&inode.block.to_le_bytes());
        bytes[20..24].copy_from_slice(&(inode.index as u32 + 1).to_le_bytes());
        bytes[24..28].copy_from_slice(&attributes.uid.to_le_bytes());
        bytes[28..32].copy_from_slice(&attributes.gid.to_le_bytes());
        bytes[32..40].copy_from_slice(&attributes.modified.to_le_bytes());
        bytes[44..48].copy_from_slice(&links.to_le_bytes());
        bytes
    }

    /// The data of a directory: blocks, each with entries, sorted, and then their names.
    fn listing(&self, inode: &Inode<'_, C>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let index_of = |name: &[u8], child: Option<usize>| match (child, name) {
            (Some(child), _) => child,
            (None, b"..") => inode.parent,
            (None, _) => inode.index,
        };
        for (number, block) in blocks_of(&inode.children).into_iter().enumerate() {
            bytes.resize(number * BLOCK_BYTES, 0);
            let mut name_offset = block.len() * ENTRY_BYTES;
            for (name, child) in &block {
                let index = index_of(name, *child);
                let kind = kind_of(self.inodes[index].item);
                bytes.extend(place(index).to_le_bytes());
                bytes.extend((name_offset as u16).to_le_bytes());
                bytes.extend([kind, 0]);
                name_offset += name.len();
            }
            for (name, _) in &block {
                bytes.extend(*name);
            }
        }
        bytes
    }
}

/// Numbers all inodes, level by level.
fn number<C>(root: &Item<C>) -> Vec<Inode<'_, C>> {
    let inode = |item, index, parent| Inode {
        item,
        index,
        parent,
        children: Vec::new(),
        bytes: 0,
        block: 0,
    };
    let mut inodes = vec![inode(root, 0, 0)];
    let mut waiting = VecDeque::from([0]);
    while let Some(index) = waiting.pop_front() {
        let item = inodes[index].item;
        let Item::Directory { children, .. } = item else {
            continue;
        };
        let children: &BTreeMap<_, _> = children;
        for (name, child) in children {
            let number = inodes.len();
            inodes.push(inode(child, number, index));
            inodes[index].children.push((name.as_slice(), number));
            waiting.push_back(number);
        }
    }
    inodes
}

/// The number of an inode: its place in units of [`SLOT_BYTES`].
fn place(index: usize) -> u64 {
    ((INODES_OFFSET + index * INODE_BYTES) / SLOT_BYTES) as u64
}

fn kind_of<C>(item: &Item<C>) -> u8 {
    match item {
        Item::File { .. } => TYPE_FILE,
        Item::Directory { .. } => TYPE_DIRECTORY,
        Item::Link { .. } => TYPE_LINK,
    }
}

/// The entries of a directory with `.` and `..` at their places, as they are divided into blocks. Those two have no
/// index.
fn blocks_of<'a>(children: &[(&'a [u8], usize)]) -> Vec<Vec<(&'a [u8], Option<usize>)>> {
    let own: [(&[u8], Option<usize>); 2] = [(b".", None), (b"..", None)];
    let mut entries: Vec<_> = children
        .iter()
        .map(|(name, child)| (*name, Some(*child)))
        .chain(own)
        .collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    let mut blocks = vec![Vec::new()];
    let mut used = 0;
    for entry in entries {
        let bytes = ENTRY_BYTES + entry.0.len();
        if used + bytes > BLOCK_BYTES {
            blocks.push(Vec::new());
            used = 0;
        }
        used += bytes;
        if let Some(block) = blocks.last_mut() {
            block.push(entry);
        }
    }
    blocks
}

fn listing_bytes(children: &[(&[u8], usize)]) -> u64 {
    let blocks = blocks_of(children);
    let last = blocks.last().map_or(0, |block| {
        block.iter().map(|(name, _)| ENTRY_BYTES + name.len()).sum()
    });
    ((blocks.len() - 1) * BLOCK_BYTES + last) as u64
}

/// Counts what is written, and fills blocks with zeros.
struct Padded<W> {
    sink: W,
    written: u64,
}

impl<W: Write> Padded<W> {
    fn pad(&mut self) -> io::Result<()> {
        const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        let over = (self.written % BLOCK_BYTES as u64) as usize;
        if over == 0 {
            return Ok(());
        }
        self.write_all(&ZEROS[over..])
    }
}

impl<W: Write> Write for Padded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests;
