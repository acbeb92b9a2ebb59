//! Access keys of accounts, with their secrets.

use async_trait::async_trait;
use hearth_control::Control;
use hearth_control::account::{AccessKey, KeyStatus};

/// Looks up access keys of accounts. Those are stored; temporary keys of roles are derived (`crate::identity`).
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// Returns the enabled access key with this id. `None` if it does not exist or is disabled.
    async fn find(&self, access_key: &str) -> Option<AccessKey>;
}

/// The access keys in the store of the control plane.
#[async_trait]
impl Keys for Control {
    async fn find(&self, access_key: &str) -> Option<AccessKey> {
        let id = access_key.parse().ok()?;
        let found = self.access_key(&id).await;
        let found = found.inspect_err(|error| tracing::error!(%error, "access key lookup failed"));
        found.ok()?.filter(|key| key.status == KeyStatus::Active)
    }
}
