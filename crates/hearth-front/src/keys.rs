//! Access keys of accounts: their secrets, and whose they are.

use async_trait::async_trait;
use hearth_control::Control;
use hearth_control::account::{AccessKey, KeyStatus};

/// Where access keys are kept. They are long-lived; keys of roles are not kept but derived ([`crate::identity`]).
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// The key of this id; nothing when there is none, or when it is disabled.
    async fn find(&self, access_key: &str) -> Option<AccessKey>;
}

/// The keys of the control plane.
#[async_trait]
impl Keys for Control {
    async fn find(&self, access_key: &str) -> Option<AccessKey> {
        let id = access_key.parse().ok()?;
        let found = self.access_key(&id).await;
        let found = found.inspect_err(|error| tracing::error!(%error, "access key lookup failed"));
        found.ok()?.filter(|key| key.status == KeyStatus::Active)
    }
}
