//! Settings of a client.

/// The address of the service, and a key. `Debug` omits the secret.
#[derive(Clone)]
pub struct Settings {
    /// The API: `http://127.0.0.1:4580`.
    pub endpoint_url: String,
    /// The AWS region of the service.
    pub region: String,
    /// The key that signs.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Certificates to trust, PEM: the authority of the endpoints.
    pub ca_bundle_pem: String,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint_url", &self.endpoint_url)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}
