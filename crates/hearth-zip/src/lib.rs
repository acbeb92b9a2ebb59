//! Zips that clients send: artifacts of images, code and layers of functions.
//!
//! The crate judges them before anything uses them, and knows nothing of what they are for.

#![forbid(unsafe_code)]

mod archive;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use archive::{Archive, ArchiveError, ArchiveLimits, Member, MemberKind};
