//! Bodies of fuzz targets: what reads bytes of clients before it is known whose they are, and policies.

pub use crate::policy::fuzz::documents as policy_documents;
pub use crate::s3::fuzz::{admission as s3_admission, chunks as s3_chunks};
