//! Bodies of fuzz targets for the checks in front of S3.

pub use super::admission::fuzz::admission;
pub use super::chunk_limit::fuzz::chunks;
pub use super::form::fuzz::forms;
