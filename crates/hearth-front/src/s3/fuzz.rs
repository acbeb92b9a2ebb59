//! Bodies of fuzz targets on what stands before S3.

pub use super::admission::fuzz::admission;
pub use super::chunk_limit::fuzz::chunks;
