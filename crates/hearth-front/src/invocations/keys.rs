//! Credentials of the execution roles of functions.

use std::time::Duration;

use async_trait::async_trait;
use hearth_control::Control;
use hearth_invoke::{FunctionVersion, Keys, NoKeys, RoleKeys};

use crate::identity::{AssumeError, SessionKey, assume_for_function};

/// How long credentials are valid: the longest that a session of a role can be. The environment ends before.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Issues credentials of execution roles.
pub struct FunctionKeys {
    control: Control,
    sessions: SessionKey,
}

impl FunctionKeys {
    /// Derives credentials from this secret, for roles of this control plane.
    #[must_use]
    pub fn new(control: Control, sessions: SessionKey) -> Self {
        Self { control, sessions }
    }
}

#[async_trait]
impl RoleKeys for FunctionKeys {
    async fn issue(&self, version: &FunctionVersion) -> Result<Keys, NoKeys> {
        let spec = &version.spec;
        let account = spec.account.parse();
        let account = account.map_err(|_| NoKeys::Unavailable("no account id".to_owned()))?;
        let name = session_name(&spec.function_name);
        let assumed = assume_for_function(
            &self.control,
            &self.sessions,
            (account, &version.role_arn),
            (&spec.function_arn, name),
            LIFETIME,
        );
        let assumed = assumed.await.map_err(|error| match error {
            AssumeError::Unavailable => NoKeys::Unavailable("the role cannot be read".to_owned()),
            _ => NoKeys::NotAssumable,
        })?;
        Ok(Keys {
            access_key_id: assumed.access_key,
            secret_access_key: assumed.secret.reveal().to_owned(),
            session_token: assumed.session_token,
            valid_for: LIFETIME,
        })
    }
}

/// The name of the session: the function's. Names of sessions have at least two characters (facts section 3.4).
fn session_name(function: &str) -> String {
    match function.len() {
        1 => format!("{function}@lambda_function"),
        _ => function.to_owned(),
    }
}
