//! A zip that a client sent, which is checked completely before it is used.
//!
//! [`Archive::open`] reads the zip's directory as a stream, within limits, and refuses every name, kind and size that
//! honest packers do not write. [`Archive::verify`] reads the content, and [`Archive::write_tar`] turns the zip into a
//! tar stream for whoever unpacks it. Nothing is unpacked here.
//!
//! A link is kept as it is, wherever it leads: it means something where the zip is unpacked. Nothing is ever written
//! through one, because nothing of the zip may lie below a link.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder,
    ZipFileHeaderRecord,
};

mod error;
mod members;
mod name;
mod time;

use name::RawName;

pub use error::ArchiveError;
pub use members::{Member, MemberKind};

/// Longest target of a symbolic link, as Linux has it (`PATH_MAX`).
const MAX_LINK_BYTES: u64 = 4095;

/// Systems that make zips, by number (APPNOTE.TXT 4.4.2.2): those with names and permissions of Unix.
const UNIX_LIKE: [u8; 2] = [3, 19];

/// Permissions of files if the zip has none, because it was not made on Unix.
const FILE_PERMISSIONS: u32 = 0o644;
const DIRECTORY_PERMISSIONS: u32 = 0o755;

/// Limits on a zip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Size of the zip, in bytes.
    pub archive_bytes: u64,
    /// Files, directories and links.
    pub entries: usize,
    /// Size of all files together when unpacked, in bytes.
    pub content_bytes: u64,
    /// Unpacked size for each byte of the zip. Text reaches 20; Deflate ends at 1032.
    pub ratio: u64,
    /// Length of one path, in bytes; within the limits of tar and Linux (`PATH_MAX`).
    pub name_bytes: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            archive_bytes: 1 << 30,
            // The folders of three large applications of Node.
            entries: 200_000,
            content_bytes: 8 << 30,
            ratio: 200,
            name_bytes: 1024,
        }
    }
}

/// Below this unpacked size, in bytes, the ratio is not checked: a small file of zeros is not a zip bomb.
const RATIO_FLOOR_BYTES: u64 = 16 << 20;

/// A zip whose directory has passed all checks.
#[derive(Debug)]
pub struct Archive {
    archive: ZipArchive<FileReader>,
    entries: Vec<Entry>,
    content_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    name: String,
    kind: Kind,
    permissions: u32,
    /// In seconds since 1970.
    modified: u64,
    bytes: u64,
    is_deflated: bool,
    wayfinder: ZipArchiveEntryWayfinder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

impl Archive {
    /// Opens and judges the zip at `path`: its directory. Blocks.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub fn open(path: &Path, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        Self::of_file(File::open(path).map_err(ArchiveError::Read)?, limits)
    }

    /// Checks the zip in an open file. Blocks.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`].
    pub fn of_file(file: File, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let bytes = file.metadata().map_err(ArchiveError::Read)?.len();
        if bytes > limits.archive_bytes {
            return Err(ArchiveError::ArchiveTooLarge {
                bytes,
                limit: limits.archive_bytes,
            });
        }
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(ArchiveError::NotAZip)?;
        let entries = read_entries(&archive, &mut buffer, limits)?;
        let content_bytes = check_sizes(&entries, bytes, limits)?;
        check_tree(&entries)?;
        Ok(Self {
            archive,
            entries,
            content_bytes,
        })
    }

    /// Number of files, directories and links.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Size of all its files when unpacked, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Whether there is a file of this name. A link or a directory is none.
    pub fn has_file(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// The text of a file. `None` if it is longer than this or not UTF-8. Blocks.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NoFile`] or [`ArchiveError::Damaged`].
    pub fn text(&self, name: &str, max_bytes: u64) -> Result<Option<String>, ArchiveError> {
        let entry = self.file(name);
        let entry = entry.ok_or_else(|| ArchiveError::NoFile(name.to_owned()))?;
        if entry.bytes > max_bytes {
            return Ok(None);
        }
        let mut text = Vec::new();
        self.content(entry)?
            .read_to_end(&mut text)
            .map_err(|source| damaged(entry, source))?;
        Ok(String::from_utf8(text).ok())
    }

    fn file(&self, name: &str) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.name == name && entry.kind == Kind::File)
    }

    /// Reads all content and compares it with what the zip's directory says. Blocks.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Damaged`], or what is wrong with a link's target.
    pub fn verify(&self) -> Result<(), ArchiveError> {
        for entry in &self.entries {
            match entry.kind {
                Kind::Directory => {}
                Kind::Link => drop(self.link_target(entry)?),
                Kind::File => {
                    let copied = io::copy(&mut self.content(entry)?, &mut io::sink());
                    copied.map_err(|source| damaged(entry, source))?;
                }
            }
        }
        Ok(())
    }

    /// Writes everything as a tar stream. Blocks. Content that is longer, shorter or other than the zip's directory
    /// says ends it with an error. Directories come last, deepest first: what is written into one changes its time.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Damaged`] or [`ArchiveError::Sink`].
    pub fn write_tar(&self, sink: impl Write) -> Result<(), ArchiveError> {
        self.write(sink, |entry| entry.modified)
    }

    /// Writes everything as [`Archive::write_tar`] does, all of it of one time: what was packed anew is the same.
    ///
    /// # Errors
    ///
    /// As [`Archive::write_tar`].
    pub fn write_without_times(&self, sink: impl Write) -> Result<(), ArchiveError> {
        self.write(sink, |_| 0)
    }

    fn write(&self, sink: impl Write, time: impl Fn(&Entry) -> u64) -> Result<(), ArchiveError> {
        let mut tar = tar::Builder::new(sink);
        let mut directories = Vec::new();
        for entry in &self.entries {
            let mut header = entry.header(time(entry));
            match entry.kind {
                Kind::Directory => directories.push(entry),
                Kind::Link => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    tar.append_link(&mut header, &entry.name, self.link_target(entry)?)
                        .map_err(ArchiveError::Sink)?;
                }
                Kind::File => {
                    header.set_size(entry.bytes);
                    let mut content = Content::new(self.content(entry)?);
                    let appended = tar.append_data(&mut header, &entry.name, &mut content);
                    content.judge(entry, appended)?;
                }
            }
        }
        directories.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        for entry in directories {
            let mut header = entry.header(time(entry));
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, &entry.name, io::empty())
                .map_err(ArchiveError::Sink)?;
        }
        tar.finish().map_err(ArchiveError::Sink)
    }

    /// Where a link leads, which may be anywhere.
    fn link_target(&self, entry: &Entry) -> Result<String, ArchiveError> {
        let mut target = Vec::new();
        self.content(entry)?
            .take(MAX_LINK_BYTES)
            .read_to_end(&mut target)
            .map_err(|source| damaged(entry, source))?;
        match String::from_utf8(target) {
            Ok(target) if target.is_empty() || target.contains('\0') => {
                Err(ArchiveError::MalformedName(entry.name.clone()))
            }
            Ok(target) => Ok(target),
            Err(_) => Err(ArchiveError::NameEncoding(entry.name.clone())),
        }
    }

    /// A reader of an entry's content. It gives exactly as many bytes as the directory says, or an error at the end.
    fn content<'a>(&'a self, entry: &Entry) -> Result<Box<dyn Read + 'a>, ArchiveError> {
        let found = self
            .archive
            .get_entry(entry.wayfinder)
            .map_err(|error| damaged(entry, io::Error::other(error)))?;
        let raw = found.reader();
        // One byte more than promised is enough for the verifier to notice.
        Ok(if entry.is_deflated {
            let inflated = DeflateDecoder::new(raw).take(entry.bytes + 1);
            Box::new(found.verifying_reader(inflated))
        } else {
            Box::new(found.verifying_reader(raw.take(entry.bytes + 1)))
        })
    }
}

impl Entry {
    fn header(&self, modified: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_mode(self.permissions);
        header.set_mtime(modified);
        header.set_size(0);
        header
    }
}

/// Remembers a failure of its reader, which a copy's own error does not tell from one of the writer.
struct Content<'a> {
    reader: Box<dyn Read + 'a>,
    failure: Option<io::Error>,
}

impl<'a> Content<'a> {
    fn new(reader: Box<dyn Read + 'a>) -> Self {
        Self {
            reader,
            failure: None,
        }
    }

    /// The result of a copy: `appended` is the copy's own result.
    fn judge(self, entry: &Entry, appended: io::Result<()>) -> Result<(), ArchiveError> {
        match self.failure {
            Some(source) => Err(damaged(entry, source)),
            None => appended.map_err(ArchiveError::Sink),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let shown = io::Error::new(error.kind(), error.to_string());
            self.failure = Some(error);
            shown
        })
    }
}

fn damaged(entry: &Entry, source: io::Error) -> ArchiveError {
    ArchiveError::Damaged {
        name: entry.name.clone(),
        source,
    }
}

fn read_entries(
    archive: &ZipArchive<FileReader>,
    buffer: &mut [u8],
    limits: &ArchiveLimits,
) -> Result<Vec<Entry>, ArchiveError> {
    let mut entries = Vec::new();
    let mut records = archive.entries(buffer);
    while let Some(record) = records.next_entry().map_err(ArchiveError::NotAZip)? {
        if entries.len() == limits.entries {
            return Err(ArchiveError::TooManyEntries {
                limit: limits.entries,
            });
        }
        let entry = read_entry(&record, limits)?;
        // A zip of a whole directory may have an entry for the directory itself.
        if !entry.name.is_empty() {
            entries.push(entry);
        } else if entry.kind != Kind::Directory {
            return Err(ArchiveError::MalformedName(entry.name));
        }
    }
    Ok(entries)
}

fn read_entry(
    record: &ZipFileHeaderRecord<'_>,
    limits: &ArchiveLimits,
) -> Result<Entry, ArchiveError> {
    let raw = RawName {
        bytes: record.file_path().as_bytes(),
        says_utf8: record.flags().is_utf8(),
        is_of_unix: UNIX_LIKE.contains(&record.version_made_by().creator_system().as_u8()),
    };
    let name = name::check(raw, limits.name_bytes)?;
    let mode = record.mode().value();
    let kind = match mode & 0o170_000 {
        _ if record.is_dir() || (!raw.is_of_unix && raw.bytes.ends_with(b"\\")) => Kind::Directory,
        0o040_000 => Kind::Directory,
        0o120_000 => Kind::Link,
        0o100_000 | 0 => Kind::File,
        _ => return Err(ArchiveError::Kind(name)),
    };
    if record.flags().is_encrypted() {
        return Err(ArchiveError::Encrypted(name));
    }
    let method = record.compression_method();
    let is_deflated = method == CompressionMethod::DEFLATE;
    if !is_deflated && method != CompressionMethod::STORE {
        return Err(ArchiveError::Compression {
            name,
            method: method.as_u16(),
        });
    }
    // Set-user-id and sticky bits are for whoever unpacks the zip to set.
    let permissions = match (kind, mode & 0o777) {
        (Kind::Directory, 0) => DIRECTORY_PERMISSIONS,
        (_, 0) => FILE_PERMISSIONS,
        (_, permissions) => permissions,
    };
    Ok(Entry {
        name,
        kind,
        permissions,
        modified: time::modified(record),
        bytes: record.uncompressed_size_hint(),
        is_deflated,
        wayfinder: record.wayfinder(),
    })
}

fn check_sizes(
    entries: &[Entry],
    archive_bytes: u64,
    limits: &ArchiveLimits,
) -> Result<u64, ArchiveError> {
    let mut total: u64 = 0;
    for entry in entries {
        total = total.saturating_add(entry.bytes);
        if entry.kind == Kind::Link && entry.bytes > MAX_LINK_BYTES {
            return Err(ArchiveError::NameTooLong(entry.name.clone()));
        }
    }
    if total > limits.content_bytes {
        return Err(ArchiveError::ContentTooLarge {
            limit: limits.content_bytes,
        });
    }
    if total > RATIO_FLOOR_BYTES && total / limits.ratio > archive_bytes {
        return Err(ArchiveError::RatioTooLarge {
            limit: limits.ratio,
        });
    }
    Ok(total)
}

/// Every file and link once, and everything below directories.
fn check_tree(entries: &[Entry]) -> Result<(), ArchiveError> {
    let mut tree: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.kind))
        .collect();
    sort_as_tree(&mut tree, tree_order)
}

/// Sorts names so that everything below a name follows it directly. Comparing neighbours is then enough to find
/// duplicates and names below something that is not a directory. Looking up every parent of every name would cost the
/// sum of their lengths multiplied by their depths.
fn sort_as_tree(
    tree: &mut [(&str, Kind)],
    mut order: impl FnMut(&str, &str) -> Ordering,
) -> Result<(), ArchiveError> {
    tree.sort_unstable_by(|(a, _), (b, _)| order(a, b));
    for (&(above, kind), &(name, other)) in tree.iter().zip(tree.iter().skip(1)) {
        // Some packers list a directory more than once.
        if above == name && (kind, other) != (Kind::Directory, Kind::Directory) {
            return Err(ArchiveError::Duplicate(name.to_owned()));
        }
        // A zip need not list directories.
        let rest = name.strip_prefix(above);
        let is_below = rest.is_some_and(|rest| rest.starts_with('/'));
        if is_below && kind != Kind::Directory {
            return Err(ArchiveError::BelowFile(name.to_owned()));
        }
    }
    Ok(())
}

/// The order of names in which a slash comes before every other character.
fn tree_order(a: &str, b: &str) -> Ordering {
    // No name has a zero byte.
    let slash_first = |byte: u8| if byte == b'/' { 0 } else { byte };
    a.bytes().map(slash_first).cmp(b.bytes().map(slash_first))
}

#[cfg(test)]
mod tests;
