//! The object store: buckets of every account, with their objects in local files.
//!
//! An index in SQLite ([`hearth_sqlite`]) says what there is; each object's bytes are one file that is written once and
//! never changed:
//!
//! ```text
//! objects.db                 buckets, objects, uploads, parts
//! blobs/<xx>/<uuid>          bytes of one object or part; <xx> spreads them over 256 directories
//! ```
//!
//! A file is complete and synced before the index names it, and removed only after the index has
//! forgotten it and whoever looked it up before has it open. What a crash leaves is a file without a name, removed at the next start. Keys are
//! rows, not paths: any text is a key, and no key can reach out of its bucket.
//!
//! A copy of an object is another row that names the same file, which goes with the last of them. What an account keeps is
//! counted and bounded (`quota.rs`).
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
pub use object::{Attributes, Condition, Copy, NewObject, Object};
pub use quota::Limits;
pub use store::ObjectStore;
pub use upload::{MAX_PARTS, Part, Upload};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
