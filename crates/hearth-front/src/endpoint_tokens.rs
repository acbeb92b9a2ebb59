//! Tokens for endpoints. The endpoint proxy makes and checks them; the front only hands them out.

use std::ops::RangeInclusive;
use std::time::Duration;

use hearth_control::id::MicrovmId;

/// What a token lets its bearer do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The microVM it is bound to.
    pub microvm: MicrovmId,
    /// What it opens.
    pub access: Access,
    /// How long connections may be opened with it: at most an hour.
    pub lifetime: Duration,
}

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Ports of the application; never empty.
    Ports(Vec<RangeInclusive<u16>>),
    /// The shell.
    Shell,
}

/// Makes tokens.
pub trait EndpointTokens: Send + Sync + 'static {
    /// A compact JWE with these rights.
    ///
    /// # Errors
    ///
    /// When no token can be made; the client is told of an internal error.
    fn mint(&self, grant: &Grant) -> Result<String, MintError>;
}

/// No token could be made.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint token could be made")]
pub struct MintError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
