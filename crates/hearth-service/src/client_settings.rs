//! Settings for clients of a service, and the file that holds them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{ServiceError, file, part};
use crate::secret_file;

/// What a client needs to talk to this service: `hearth env` prints it.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClientSettings {
    /// `AWS_ENDPOINT_URL`.
    pub endpoint_url: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`: a key of the first account.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// Certificates that clients of endpoints trust: PEM, the local authority.
    pub ca_bundle_pem: String,
}

impl std::fmt::Debug for ClientSettings {
    /// The secret is not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings")
            .field("endpoint_url", &self.endpoint_url)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl ClientSettings {
    /// Where a service writes its settings for clients of the same host. Only the file's owner may read them.
    #[must_use]
    pub fn path(data: &Path) -> PathBuf {
        data.join("client.json")
    }

    /// Reads the settings of a data directory.
    ///
    /// # Errors
    ///
    /// When the file does not exist, or is not one that a service wrote.
    pub fn read(data: &Path) -> Result<Self, ServiceError> {
        let path = Self::path(data);
        let text = std::fs::read(&path).map_err(file("read", &path))?;
        serde_json::from_slice(&text).map_err(part("the client settings"))
    }

    /// Writes the settings into a data directory.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, data: &Path) -> Result<(), ServiceError> {
        let path = Self::path(data);
        let text = serde_json::to_vec_pretty(self).map_err(part("the client settings"))?;
        secret_file::write(&path, &text).map_err(file("write", &path))
    }
}
