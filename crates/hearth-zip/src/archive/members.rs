//! What is in a zip, one by one: for who makes a tree of it.

use std::io::{self, Write};

use super::{Archive, ArchiveError, Content, Kind};

/// A file, directory or link of a zip.
#[derive(Debug)]
pub struct Member<'a> {
    /// Its path: plain parts, separated by slashes.
    pub name: &'a str,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits.
    pub permissions: u32,
    /// In seconds since 1970.
    pub modified: u64,
}

/// What a member is.
#[derive(Debug)]
pub enum MemberKind {
    /// A file; its number is for [`Archive::copy_file`].
    File {
        /// Its number in the zip.
        index: usize,
        /// Its size.
        bytes: u64,
    },
    /// A directory.
    Directory,
    /// A link and where it leads, which may be anywhere.
    Link(String),
}

impl Archive {
    /// Everything in the zip. Blocks: it reads where links lead.
    pub fn members(&self) -> impl Iterator<Item = Result<Member<'_>, ArchiveError>> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            let kind = match entry.kind {
                Kind::File => MemberKind::File {
                    index,
                    bytes: entry.bytes,
                },
                Kind::Directory => MemberKind::Directory,
                Kind::Link => MemberKind::Link(self.link_target(entry)?),
            };
            Ok(Member {
                name: &entry.name,
                kind,
                permissions: entry.permissions,
                modified: entry.modified,
            })
        })
    }

    /// Writes the content of a file. Blocks.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Damaged`] or [`ArchiveError::Sink`].
    pub fn copy_file(&self, index: usize, sink: &mut dyn Write) -> Result<(), ArchiveError> {
        let Some(entry) = self.entries.get(index) else {
            return Err(ArchiveError::NoFile(index.to_string()));
        };
        let mut content = Content::new(self.content(entry)?);
        let copied = io::copy(&mut content, sink).map(drop);
        content.judge(entry, copied)
    }
}
