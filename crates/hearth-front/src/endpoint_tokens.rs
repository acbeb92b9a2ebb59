//! Tokens for endpoints. The endpoint proxy issues and checks them; the front only hands them out.

use std::ops::RangeInclusive;
use std::time::Duration;

use hearth_control::id::MicrovmId;

/// The rights of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The microVM that the token is bound to.
    pub microvm: MicrovmId,
    /// What the token gives access to.
    pub access: Access,
    /// How long the token can be used to open connections: at most an hour.
    pub lifetime: Duration,
}

/// What a token gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Ports of the application. Never empty.
    Ports(Vec<RangeInclusive<u16>>),
    /// The shell.
    Shell,
}

/// Issues tokens.
pub trait EndpointTokens: Send + Sync + 'static {
    /// Issues a token with these rights, as a compact JWE.
    ///
    /// # Errors
    ///
    /// The token could not be issued. The client is answered with an internal error.
    fn mint(&self, grant: &Grant) -> Result<String, MintError>;
}

/// A token could not be issued.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint token could be made")]
pub struct MintError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
