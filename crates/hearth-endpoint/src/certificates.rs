//! Which certificate a client is shown: the operator's own if it covers the name, else one of the local authority.
//!
//! A leaf certificate is issued when its name is first asked for, before the handshake continues
//! ([`Certificates::prepare`]). Clients choose the name: names of existing microVMs are always signed, other names
//! that have the same form only a few per second. Beyond that rate, the client is shown the certificate of this host.
//! When the cache is full, the least recently used leaf is removed.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hearth_rate::RateLimiter;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::{Authority, AuthorityError};
use crate::lock::lock;

/// Leaf certificates that are cached. Each takes a few KiB.
const MAX_LEAVES: usize = 4096;

/// Age at which a leaf certificate is replaced, long before it expires.
const LEAF_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Leaf certificates per second for names of no microVM, and the burst in seconds: enough for a client that tries a
/// microVM that is gone, and gets 403 as on AWS. It takes half a percent of one processor.
const UNKNOWN_NAME_LEAVES: f64 = 20.0;
const UNKNOWN_NAME_BURST: Duration = Duration::from_secs(5);

/// Names of every host for itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why the operator's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// The chain cannot be read.
    #[error("cannot read the certificate chain {path}")]
    Chain {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key cannot be read.
    #[error("cannot read the private key {path}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Chain and key do not belong together, or their kind is not supported.
    #[error("the certificate and its key are not usable")]
    Unusable(#[source] rustls::Error),
}

/// The certificates of all listeners.
pub struct Certificates {
    own: Option<Arc<CertifiedKey>>,
    authority: Authority,
    /// For clients that ask for the name of this host, or for none because they came by address.
    by_address: Leaf,
    leaves: Mutex<HashMap<String, CachedLeaf>>,
    unknown_names: Mutex<RateLimiter>,
    names: Vec<String>,
}

#[derive(Clone)]
struct Leaf {
    key: Arc<CertifiedKey>,
    made_at: Instant,
}

struct CachedLeaf {
    leaf: Leaf,
    asked_at: Instant,
}

impl Certificates {
    /// Issues certificates of the local authority for names of endpoints and for the names and addresses in `host`,
    /// besides localhost.
    ///
    /// # Errors
    ///
    /// The authority could not sign.
    pub fn new(authority: Authority, host: &[String]) -> Result<Self, AuthorityError> {
        let mut names = LOCAL_NAMES.map(str::to_owned).to_vec();
        names.extend(host.iter().map(|name| name.to_ascii_lowercase()));
        let by_address = Leaf::new(authority.leaf(&names)?);
        Ok(Self {
            own: None,
            authority,
            by_address,
            leaves: Mutex::default(),
            unknown_names: Mutex::new(RateLimiter::new(UNKNOWN_NAME_LEAVES, UNKNOWN_NAME_BURST)),
            names,
        })
    }

    /// Adds the operator's certificate, which is shown to clients that ask for a name it covers.
    ///
    /// # Errors
    ///
    /// [`OwnCertificateError`].
    pub fn with_own(mut self, chain: &Path, key: &Path) -> Result<Self, OwnCertificateError> {
        let read = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect);
        let certificates: Vec<_> = read.map_err(|source| OwnCertificateError::Chain {
            path: chain.to_owned(),
            source,
        })?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|source| OwnCertificateError::Key {
            path: key.to_owned(),
            source,
        })?;
        let certified = CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider())
            .map_err(OwnCertificateError::Unusable)?;
        self.own = Some(Arc::new(certified));
        Ok(self)
    }

    /// The authority, whose certificate clients trust.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The TLS configuration of endpoints: HTTP/2 or HTTP/1.1.
    pub(crate) fn endpoint_tls(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        self.tls(&[b"h2", b"http/1.1"])
    }

    /// The TLS configuration of a listener for HTTP/1.1 only.
    ///
    /// # Errors
    ///
    /// The system has no randomness for the keys of session tickets.
    pub fn http1_tls(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        self.tls(&[b"http/1.1"])
    }

    fn tls(self: &Arc<Self>, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // Tickets keep the session state at the client, so resumption takes no memory per client.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }

    /// Whether the certificate for a name exists already.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.by_name(name).is_some()
    }

    /// Whether a leaf certificate may be issued now for a name of no microVM.
    pub(crate) fn may_sign_for_unknown_name(&self) -> bool {
        lock(&self.unknown_names).try_take(1.0, Instant::now())
    }

    /// Issues a leaf certificate for a name. Other connections do not wait for the signature.
    pub(crate) fn prepare(&self, name: &str) {
        let leaf = match self.authority.leaf(&[name.to_owned()]) {
            Ok(key) => Leaf::new(key),
            Err(error) => {
                tracing::warn!(name, %error, "no certificate for an endpoint");
                return;
            }
        };
        let mut leaves = lock(&self.leaves);
        if leaves.len() >= MAX_LEAVES && !leaves.contains_key(name) {
            let oldest = leaves.iter().min_by_key(|(_, cached)| cached.asked_at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                leaves.remove(&oldest);
            }
        }
        let asked_at = Instant::now();
        leaves.insert(name.to_owned(), CachedLeaf { leaf, asked_at });
    }

    /// The certificate for a name, if it exists.
    fn by_name(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        if let Some(own) = self.own.as_ref().filter(|own| covers(own, name)) {
            return Some(Arc::clone(own));
        }
        if self.names.iter().any(|known| known == name) {
            return self.by_address();
        }
        let mut leaves = lock(&self.leaves);
        let cached = leaves.get_mut(name)?;
        if !cached.leaf.is_fresh() {
            return None;
        }
        cached.asked_at = Instant::now();
        Some(Arc::clone(&cached.leaf.key))
    }

    fn by_address(&self) -> Option<Arc<CertifiedKey>> {
        if self.by_address.is_fresh() {
            return Some(Arc::clone(&self.by_address.key));
        }
        // Once the cached one is a month old: a signature per such handshake is cheaper than a lock in all
        // handshakes.
        self.authority.leaf(&self.names).ok().map(Arc::new)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            // A client that asks for another name is answered, too: it gets 403 as on AWS, if it accepts the
            // certificate.
            Some(name) => self.by_name(name).or_else(|| self.by_address()),
            None => self.by_address(),
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("own", &self.own.is_some())
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    fn new(key: CertifiedKey) -> Self {
        Self {
            key: Arc::new(key),
            made_at: Instant::now(),
        }
    }

    fn is_fresh(&self) -> bool {
        self.made_at.elapsed() < LEAF_AGE
    }
}

/// Whether a certificate is valid for a name, by the rules of clients.
fn covers(certified: &CertifiedKey, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else {
        return false;
    };
    let leaf = certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from);
    leaf.is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, &name).is_ok())
}

#[cfg(test)]
mod tests;
