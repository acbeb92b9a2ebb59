//! What is wrong with an artifact: each wrongness by itself, because its owner reads it in the build log.

use std::io;

/// What is wrong with an artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file cannot be read.
    #[error("cannot read the artifact")]
    Read(#[source] io::Error),
    /// It is no zip, or a damaged one.
    #[error("the artifact is not a zip archive, or is damaged")]
    NotAZip(#[source] rawzip::Error),
    /// The zip is too large.
    #[error("the artifact has {bytes} bytes, more than {limit}")]
    ArchiveTooLarge {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Too many entries.
    #[error("the artifact has more than {limit} entries")]
    TooManyEntries {
        /// What is allowed.
        limit: usize,
    },
    /// Too much content.
    #[error("the artifact unpacks to more than {limit} bytes")]
    ContentTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// A bomb.
    #[error("the artifact unpacks to more than {limit} times its size")]
    RatioTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// No `Dockerfile` at the root.
    #[error("the artifact has no file named Dockerfile at its root")]
    NoDockerfile,
    /// A name that is no text.
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
    /// Something below what is no directory.
    #[error("{0:?} lies below something that is no directory")]
    BelowFile(String),
    /// A device, a socket, a pipe.
    #[error("{0:?} is neither a file nor a directory nor a link")]
    Kind(String),
    /// Encrypted content.
    #[error("{0:?} is encrypted")]
    Encrypted(String),
    /// A way of compression that is not Deflate.
    #[error("{name:?} is compressed by method {method}; only store and deflate are supported")]
    Compression {
        /// The file.
        name: String,
        /// Number of the method (APPNOTE.TXT 4.4.5).
        method: u16,
    },
    /// Content that is not what the directory says.
    #[error("the content of {name:?} is damaged")]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The receiver of the tar stream failed.
    #[error("cannot pass the artifact on")]
    Sink(#[source] io::Error),
}
