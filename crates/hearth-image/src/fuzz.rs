//! Fuzz targets for the readers of artifacts and of files that a builder microVM has written.

pub use crate::store::fuzz::indexes as image_store;
#[cfg(feature = "fuzzing")]
pub use hearth_zip::fuzz::archive as artifact_zip;
