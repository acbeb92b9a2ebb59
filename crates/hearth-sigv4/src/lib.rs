//! AWS Signature Version 4: what signer and verifier both compute, and signing.
//!
//! ```text
//! request -> canonical request -> its hash, date and scope -> string to sign -> HMAC with the day's key
//! ```
//!
//! The front verifies and the client signs with this crate, so one place puts requests into canonical form. The front
//! decides which signatures it accepts (time, scope, which headers must be signed).
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
pub use signature::{ALGORITHM, UNSIGNED_PAYLOAD, hex, payload_hash, policy_signature, signature};
