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
//! The crate knows neither HTTP nor S3's XML.

#![forbid(unsafe_code)]

mod blob;
mod bucket;
mod error;
mod listing;
mod object;
mod schema;
mod store;
mod upload;

pub use blob::NewBlob;
pub use bucket::Bucket;
pub use error::ObjectError;
pub use listing::{Listing, ListingRequest};
pub use object::{Attributes, Condition, NewObject, Object};
pub use store::ObjectStore;
pub use upload::{MAX_PARTS, Part, Upload};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
