//! Tokens: what a bearer may do at one microVM's endpoint. Encrypted, so that only Hearth can issue or read them.
//!
//! A token is a compact JWE (RFC 7516 section 7.1) as on AWS: `dir`, `A256GCM`, a key id, five parts of which the
//! second is empty. Clients treat it as opaque. It is checked when a request or connection begins, and not again.

mod claims;
mod jwe;
mod ring;

use std::fmt;

pub use claims::{Access, Grant, MAX_LIFETIME};
pub use ring::{OpenRingError, TokenKeys};

/// A token in its wire form. `Debug` hides it, because it is a bearer secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The text for the client.
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

/// Why a token could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The lifetime is longer than [`MAX_LIFETIME`], or zero.
    #[error("a token lives for one to sixty minutes")]
    Lifetime,
    /// The grant has no port range, or more than a token can carry.
    #[error("a token opens 1-{} port ranges", claims::MAX_RANGES)]
    Ports,
    /// A new key was due and could not be stored.
    #[error("the key ring cannot be written")]
    Rotate(#[source] std::io::Error),
    /// Encryption or encoding failed.
    #[error("the token cannot be sealed")]
    Seal,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The text is not a token.
    #[error("not a token")]
    Unparseable,
    /// The token's key is not in the ring, or no longer.
    #[error("unknown key")]
    UnknownKey,
    /// The token was changed.
    #[error("altered")]
    Altered,
    /// The token has expired.
    #[error("expired")]
    Expired,
}

#[cfg(test)]
mod tests;
