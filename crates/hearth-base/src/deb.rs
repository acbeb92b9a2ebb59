//! Reads Debian binary packages (deb(5)): an `ar` archive of `control.tar.*` and `data.tar.*`.
//!
//! The package is read into memory once. Its files are visited in archive order and are never written to disk, so
//! unpacking needs no privileges and no space for files that nobody asked for.

use std::io::{self, Read};
use std::path::Path;

use crate::compression::Format;

/// Largest package that is read, in bytes. Kernel packages of the cloud flavour have 35 MB.
const MAX_PACKAGE_BYTES: u64 = 512 << 20;

/// Largest single file inside, in bytes.
const MAX_MEMBER_BYTES: u64 = 256 << 20;

/// Why a package could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The file could not be read.
    #[error("cannot read the package")]
    Read(#[source] io::Error),
    /// The file is larger than any kernel package.
    #[error("the package is larger than {MAX_PACKAGE_BYTES} bytes")]
    TooLarge,
    /// The file is not an `ar` archive, or a damaged one.
    #[error("not a Debian package: {0}")]
    Malformed(&'static str),
    /// The compression of `control.tar` or `data.tar` is not supported.
    #[error("{0} is compressed neither with xz nor with zstd")]
    Compression(String),
    /// The inner archive could not be unpacked.
    #[error("cannot unpack {member}")]
    Unpack {
        /// The member of the package.
        member: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A package in memory.
#[derive(Debug)]
pub struct Deb {
    bytes: Vec<u8>,
}

impl Deb {
    /// Reads the package at `path`.
    pub fn read(path: &Path) -> Result<Self, DebError> {
        let file = std::fs::File::open(path).map_err(DebError::Read)?;
        let mut bytes = Vec::new();
        file.take(MAX_PACKAGE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(DebError::Read)?;
        if bytes.len() as u64 > MAX_PACKAGE_BYTES {
            return Err(DebError::TooLarge);
        }
        Ok(Self { bytes })
    }

    /// The value of a field of the control file, for example `Version`.
    pub fn control_field(&self, field: &str) -> Result<Option<String>, DebError> {
        let mut value = None;
        self.visit("control.tar", |path, content| {
            if path == "control" {
                let mut text = String::new();
                content.read_to_string(&mut text)?;
                value = text
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(name, _)| name.eq_ignore_ascii_case(field))
                    .map(|(_, value)| value.trim().to_owned());
            }
            Ok(())
        })?;
        Ok(value)
    }

    /// The regular files whose path (without leading `./`) is `wanted`, in archive order.
    pub fn files(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>, DebError> {
        let mut files = Vec::new();
        self.visit("data.tar", |path, content| {
            if wanted(path) {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                files.push((path.to_owned(), bytes));
            }
            Ok(())
        })?;
        Ok(files)
    }

    fn visit(
        &self,
        member: &'static str,
        mut visitor: impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), DebError> {
        let (name, compressed) = find_member(&self.bytes, member)?;
        let unpack = |source| DebError::Unpack { member, source };
        let reader: Box<dyn Read> = match Format::detect(compressed) {
            Some(format) => format.reader(compressed).map_err(unpack)?,
            None if name == member => Box::new(compressed),
            None => return Err(DebError::Compression(name)),
        };
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(unpack)? {
            let entry = entry.map_err(unpack)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path().map_err(unpack)?.into_owned();
            let path = path.to_string_lossy();
            let path = path.strip_prefix("./").unwrap_or(&path);
            visitor(path, &mut entry.take(MAX_MEMBER_BYTES)).map_err(unpack)?;
        }
        Ok(())
    }
}

/// Finds the member `prefix` (with any compression suffix) of an `ar` archive (ar(5), the common format).
fn find_member<'a>(archive: &'a [u8], prefix: &str) -> Result<(String, &'a [u8]), DebError> {
    const HEADER_BYTES: usize = 60;
    let mut rest = archive
        .strip_prefix(b"!<arch>\n")
        .ok_or(DebError::Malformed("it does not start with an ar magic"))?;
    while rest.len() >= HEADER_BYTES {
        let (header, body) = rest.split_at(HEADER_BYTES);
        let name = String::from_utf8_lossy(&header[..16]);
        let name = name.trim_end().trim_end_matches('/');
        let size: usize = String::from_utf8_lossy(&header[48..58])
            .trim_end()
            .parse()
            .map_err(|_| DebError::Malformed("a member has no size"))?;
        let content = body
            .get(..size)
            .ok_or(DebError::Malformed("it ends inside a member"))?;
        if name.starts_with(prefix) {
            return Ok((name.to_owned(), content));
        }
        // Members start at even offsets.
        rest = body.get(size + size % 2..).unwrap_or_default();
    }
    Err(DebError::Malformed("a member is missing"))
}

#[cfg(test)]
mod tests;
