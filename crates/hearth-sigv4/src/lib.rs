//! AWS Signature Version 4: what signer and verifier both compute, and signing.
//!
//! ```text
//! request -> canonical request -> its hash, date and scope -> string to sign -> HMAC with the day's key
//! ```
//!
//! The front verifies with it and the client signs with it, so a request is put into canonical form in one place. Which
//! signatures are believed (time, scope, what must be signed) is the front's business.
//!
//! Reference: "Create a signed AWS API request", IAM User Guide.

#![forbid(unsafe_code)]

pub mod uri;

mod canonical;
mod scope;
mod sign;
mod signature;

pub use canonical::{CanonicalRequest, PathForm};
pub use scope::{CredentialScope, TERMINATOR};
pub use sign::{SignError, Signer};
pub use signature::{ALGORITHM, UNSIGNED_PAYLOAD, hex, payload_hash, signature};
