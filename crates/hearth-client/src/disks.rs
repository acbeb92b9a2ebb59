//! Disk usage of the host, for the operator (`docs/hearth-api.md`).

use http::Method;
use serde_json::Value;

use crate::client::{Call, Client};
use crate::error::ClientError;

impl Client {
    /// Disk usage by owner.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn disk_usage(&self) -> Result<Value, ClientError> {
        let path = "/hearth/v1/disk-usage".to_owned();
        self.call(Call::lambda("GetDiskUsage", Method::GET, path))
            .await
    }
}
