//! Registries with a login: a proxy through which the builder microVM of one account reads images with the account's
//! logins.
//!
//! A Dockerfile's `RUN` is root in the builder microVM, so a password in it would be the tenant's. Here it stays in
//! this process:
//!
//! ```text
//! buildah ── GET /v2/r0/team/tool/manifests/1.0 ──> Proxy ── allowed? ──> Upstream ── GET + Authorization ──> registry
//!                                                  proxy.rs   path.rs     upstream.rs  └── 401: token ──> the registry's realm
//!                                                                                      └── 307, without login ──> blob store
//! ```
//!
//! - The proxy reads manifests and blobs of repositories that the account may have, and does nothing else.
//! - It connects only where the build's egress leads, so a login is no way around a connector.
//! - It checks certificates with the configured bundle, also those of token servers and blob stores.
//! - Answers carry content, never a token, a challenge or an address that contains a signature.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use hearth_client::{ClientError, Connector};
use hearth_control::id::AccountId;
use hearth_image::RegistryProxy;
use hearth_net::Egress;

mod challenge;
mod path;
mod proxy;
mod upstream;

use proxy::{MAX_BYTES, Proxy};
use upstream::Upstream;

/// How Docker Hub is called in names of images, and where it answers.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// One login of the operator's, and whose builds use it for what.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The registry, as names of images begin: a host, perhaps with a port.
    pub registry: String,
    /// The user there.
    pub user: String,
    /// The password or token.
    pub password: String,
    /// The accounts whose builds use it.
    pub accounts: BTreeSet<AccountId>,
    /// The repositories that they may read with it, each with those below it; empty means all that the login may read.
    pub repositories: BTreeSet<String>,
    /// Whether the registry is asked without TLS, so that the network can read the password.
    pub is_plain: bool,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin")
            .field("registry", &self.registry)
            .field("user", &self.user)
            .field("accounts", &self.accounts)
            .field("repositories", &self.repositories)
            .finish_non_exhaustive()
    }
}

impl RegistryLogin {
    /// Where the registry answers.
    fn origin(&self) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        let host: &str = match self.registry == DOCKER_HUB.0 {
            true => DOCKER_HUB.1,
            false => &self.registry,
        };
        format!("{scheme}://{host}")
    }

    fn allows(&self, repository: &str) -> bool {
        let is_below = |allowed: &String| {
            let rest = repository.strip_prefix(allowed.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.repositories.is_empty() || self.repositories.iter().any(is_below)
    }
}

/// All logins of the operator's.
#[derive(Debug, Clone)]
pub struct RegistryLogins {
    logins: Vec<RegistryLogin>,
    connector: Connector,
}

impl RegistryLogins {
    /// Connects to nothing yet. Registries are believed by certificates of this bundle.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be read.
    pub fn new(logins: Vec<RegistryLogin>, ca_bundle_pem: &str) -> Result<Self, ClientError> {
        // Without a login no certificate is needed, and a host may have none.
        let bundle = if logins.is_empty() { "" } else { ca_bundle_pem };
        Ok(Self {
            logins,
            connector: Connector::new(bundle)?,
        })
    }

    /// The proxy for one build of `account`, which connects where `egress` leads; none when the account has no login.
    pub fn proxy(&self, account: AccountId, egress: &Egress) -> Option<Arc<dyn RegistryProxy>> {
        let own = self.logins.iter();
        let own: Vec<_> = own
            .filter(|login| login.accounts.contains(&account))
            .cloned()
            .collect();
        if own.is_empty() {
            return None;
        }
        let upstream = Upstream::new(self.connector.clone(), egress.clone());
        Some(Arc::new(Proxy::new(own, upstream, MAX_BYTES)))
    }
}

#[cfg(test)]
mod tests;
