//! The object store: buckets of every account, with their objects in local files.
//!
//! An index in SQLite ([`hearth_sqlite`]) has the records. The bytes of each object are one file, which is written
//! once and never changed:
//!
//! ```text
//! objects.db                 buckets, objects, uploads, parts
//! blobs/<xx>/<uuid>          bytes of one object or part; <xx> spreads them over 256 directories
//! ```
//!
//! A file is complete and synced before the index refers to it. It is removed only after the index no longer refers
//! to it, and after readers that looked it up before have opened it. A crash can leave a file without a reference,
//! which is removed at the next start. Keys are rows, not paths: any text is a valid key, and no key can reach out of
//! its bucket.
//!
//! A copy of an object is another row that refers to the same file. The file is removed with the last reference. The
//! bytes of an account are counted and limited (`quota.rs`).
//!
//! The crate knows neither HTTP nor S3's XML.

#![forbid(unsafe_code)]

mod blob;
mod bucket;
mod error;
mod listing;
mod object;
mod quota;
mod schema;
mod store;
mod upload;

pub use blob::NewBlob;
pub use bucket::Bucket;
pub use error::ObjectError;
pub use listing::{Listing, ListingRequest};
pub use object::{Attributes, NewObject, Object, ObjectCopy, WriteCondition};
pub use quota::ObjectLimits;
pub use store::ObjectStore;
pub use upload::{MAX_PARTS, MultipartUpload, Part};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
