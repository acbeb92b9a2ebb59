//! Tokens: what a bearer may do at one microVM's endpoint, sealed so that only Hearth can make or read them.
//!
//! A token is a compact JWE (RFC 7516 section 7.1) as AWS sends it: `dir`, `A256GCM`, a key id, five parts with
//! the second empty. Clients treat it as opaque. It is checked when a request or connection opens, never again.

mod claims;
mod jwe;
mod ring;

use std::fmt;

pub use claims::{Access, Grant, MAX_LIFETIME};
pub use ring::{OpenRingError, TokenKeys};

/// A token in its wire form. `Debug` hides it: whoever holds it has the access.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The text that goes to the client.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Longer than [`MAX_LIFETIME`], or no time at all.
    #[error("a token lives for one to sixty minutes")]
    Lifetime,
    /// A token that opens nothing, or more ranges than a token can carry.
    #[error("a token opens 1-{} port ranges", claims::MAX_RANGES)]
    Ports,
    /// A new key was due and could not be stored.
    #[error("the key ring cannot be written")]
    Rotate(#[source] std::io::Error),
    /// Encryption or encoding failed.
    #[error("the token cannot be sealed")]
    Seal,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a token at all.
    #[error("not a token")]
    Unparseable,
    /// Made with a key that is not, or no longer, in the ring.
    #[error("unknown key")]
    UnknownKey,
    /// Changed since it was sealed.
    #[error("altered")]
    Altered,
    /// Past its time.
    #[error("expired")]
    Expired,
}

#[cfg(test)]
mod tests;
