//! Credentials of execution roles.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::version::FunctionVersion;

/// Issues credentials of execution roles.
#[async_trait]
pub trait RoleKeys: Send + Sync + 'static {
    /// New credentials for an environment of this version. The session's name is the function's.
    ///
    /// # Errors
    ///
    /// [`NoKeys`] says whether the role or the service is the cause.
    async fn issue(&self, version: &FunctionVersion) -> Result<Keys, NoKeys>;
}

/// Temporary credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`
    pub session_token: String,
    /// How long they are valid. Programs keep them for life, so the environment ends before.
    pub valid_for: Duration,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// The role does not exist, or does not trust the service.
    #[error("the role cannot be assumed")]
    NotAssumable,
    /// The service cannot tell. The text is for its log.
    #[error("{0}")]
    Unavailable(String),
}
