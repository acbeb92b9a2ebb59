//! The error type of zips. Each violation has its own message, because the customer reads it in the log of a build.

use std::io;

/// Why a zip is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("cannot read the zip")]
    Read(#[source] io::Error),
    /// The file is not a zip, or a damaged one.
    #[error("the file is not a zip archive, or is damaged")]
    NotAZip(#[source] rawzip::Error),
    /// The zip is too large.
    #[error("the zip has {bytes} bytes, more than {limit}")]
    ArchiveTooLarge {
        /// Size of the zip.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many entries.
    #[error("the zip has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// Too much content.
    #[error("the zip unpacks to more than {limit} bytes")]
    ContentTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The zip looks like a zip bomb.
    #[error("the zip unpacks to more than {limit} times its size")]
    RatioTooLarge {
        /// The limit.
        limit: u64,
    },
    /// A file that must be there is not.
    #[error("the zip has no file named {0}")]
    NoFile(String),
    /// A name that is not UTF-8.
    #[error("the name {0:?} is not UTF-8")]
    NameEncoding(String),
    /// A name that is too long.
    #[error("the name {0:?}... is too long")]
    NameTooLong(String),
    /// An absolute path.
    #[error("the name {0:?} is an absolute path")]
    AbsoluteName(String),
    /// A path with `..`.
    #[error("the name {0:?} leads out of the archive")]
    Traversal(String),
    /// A name or the target of a link that is empty or has a zero byte.
    #[error("the name {0:?} is malformed")]
    MalformedName(String),
    /// The same name twice.
    #[error("the name {0:?} is there twice")]
    Duplicate(String),
    /// An entry below something that is not a directory.
    #[error("{0:?} lies below something that is no directory")]
    BelowFile(String),
    /// A device, a socket, a pipe.
    #[error("{0:?} is neither a file nor a directory nor a link")]
    Kind(String),
    /// Encrypted content.
    #[error("{0:?} is encrypted")]
    Encrypted(String),
    /// A compression method other than store and Deflate.
    #[error("{name:?} is compressed by method {method}; only store and deflate are supported")]
    Compression {
        /// The file.
        name: String,
        /// Number of the method (APPNOTE.TXT 4.4.5).
        method: u16,
    },
    /// Content that does not match the zip's directory.
    #[error("the content of {name:?} is damaged")]
    Damaged {
        /// The file.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The receiver of the tar stream failed.
    #[error("cannot pass the zip on")]
    Sink(#[source] io::Error),
}
