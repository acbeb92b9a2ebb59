//! `[tls]`: encryption of the API and the endpoints.

use std::net::IpAddr;
use std::path::PathBuf;

use hearth_net::Domain;
use hearth_service::{OwnCertificate, TlsConfig};
use serde::{Deserialize, Serialize};

/// The table `[tls]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// Whether the API is encrypted; endpoints always are.
    pub(crate) api: bool,
    /// File with the operator's certificate and its intermediates, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
    /// File with its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// Names and addresses of this host, beside localhost.
    pub(crate) names: Vec<String>,
}

impl Tls {
    pub(super) fn problem(&self) -> Option<String> {
        if self.certificate.is_some() != self.key.is_some() {
            return Some(
                "tls.certificate and tls.key belong together: give both, or neither".to_owned(),
            );
        }
        let is_name = |name: &&String| {
            name.parse::<IpAddr>().is_ok() || name.contains('.') && name.parse::<Domain>().is_ok()
        };
        let wrong = self.names.iter().find(|name| !is_name(name))?;
        Some(format!(
            "tls.names has \"{wrong}\", which is neither an address nor a DNS name, for example hearth.example.org"
        ))
    }

    /// Converts the table for the service.
    pub(crate) fn to_service(&self) -> TlsConfig {
        let own = self.certificate.clone().zip(self.key.clone());
        TlsConfig {
            is_api_encrypted: self.api,
            own: own.map(|(chain, key)| OwnCertificate { chain, key }),
            names: self.names.clone(),
        }
    }
}
