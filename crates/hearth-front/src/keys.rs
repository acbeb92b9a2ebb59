//! Who signs: access keys, their secrets and accounts.

use async_trait::async_trait;
use hearth_control::Control;
use hearth_control::account::{AccessKey, KeyStatus};
use hearth_control::arn::Scope;

/// Where access keys are kept.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// The key of this id; nothing when there is none, when it is disabled, or when
    /// `session_token` is not the one that belongs to it.
    async fn find(&self, access_key: &str, session_token: Option<&str>) -> Option<AccessKey>;
}

/// The keys of the control plane. They are long-lived: none has a session token.
#[async_trait]
impl Keys for Control {
    async fn find(&self, access_key: &str, session_token: Option<&str>) -> Option<AccessKey> {
        if session_token.is_some() {
            return None;
        }
        let id = access_key.parse().ok()?;
        let found = self.access_key(&id).await;
        let found = found.inspect_err(|error| tracing::error!(%error, "access key lookup failed"));
        found.ok()?.filter(|key| key.status == KeyStatus::Active)
    }
}

/// The verified origin of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The account, and the region that the request was signed for.
    pub(crate) scope: Scope,
}

impl Caller {
    /// How AWS names the caller: keys belong to the account's root.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:iam::{}:root", self.scope.account)
    }
}
