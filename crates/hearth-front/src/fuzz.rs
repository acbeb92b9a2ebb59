//! Bodies of fuzz targets: the readers of bytes that come from unauthenticated clients, and policies.

pub use crate::policy::fuzz::documents as policy_documents;
pub use crate::s3::fuzz::{admission as s3_admission, chunks as s3_chunks, forms as s3_forms};
