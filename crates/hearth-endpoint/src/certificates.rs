//! Which certificate a client is shown: the operator's own where it fits, else one of the local authority.
//!
//! A leaf is made when its name is first asked for, before the handshake goes on ([`Certificates::prepare`]). The name comes
//! from the client: names of microVMs that exist are signed for always, others that look like one so often a second. Over
//! that, the client is shown the certificate of this host. The leaf that was not asked for the longest makes room.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::{Authority, AuthorityError};
use crate::bucket::Bucket;
use crate::lock::lock;

/// Leaves kept at one time; a few KiB each.
const MAX_LEAVES: usize = 4096;

/// A leaf is made anew long before it expires.
const LEAF_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Leaves a second for names that are nobody's, and for how many seconds ahead: enough for a client that tries a microVM
/// that is gone, and sees a 403 as on AWS; and half a percent of one processor.
const STRANGE_LEAVES: f64 = 20.0;
const STRANGE_BURST: Duration = Duration::from_secs(5);

/// What every host calls itself.
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
    /// Chain and key do not fit together, or are of a kind that is not supported.
    #[error("the certificate and its key are not usable")]
    Unusable(#[source] rustls::Error),
}

/// The certificates of all listeners.
pub struct Certificates {
    own: Option<Arc<CertifiedKey>>,
    authority: Authority,
    /// For clients that say what this host is called, or nothing: they came by address.
    by_address: Leaf,
    leaves: Mutex<HashMap<String, CachedLeaf>>,
    strange: Mutex<Bucket>,
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
    /// Certificates of the local authority, for names of endpoints and for what this host is called: names of DNS and
    /// addresses, beside localhost.
    ///
    /// # Errors
    ///
    /// When the authority cannot sign.
    pub fn new(authority: Authority, host: &[String]) -> Result<Self, AuthorityError> {
        let mut names = LOCAL_NAMES.map(str::to_owned).to_vec();
        names.extend(host.iter().map(|name| name.to_ascii_lowercase()));
        let by_address = Leaf::new(authority.leaf(&names)?);
        Ok(Self {
            own: None,
            authority,
            by_address,
            leaves: Mutex::default(),
            strange: Mutex::new(Bucket::new(STRANGE_LEAVES, STRANGE_BURST, Instant::now())),
            names,
        })
    }

    /// Shows the operator's certificate to clients that ask for a name which it covers.
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

    /// The authority that clients trust.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The TLS of every endpoint: HTTP/2 or HTTP/1.1.
    pub(crate) fn endpoint_tls(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        self.tls(&[b"h2", b"http/1.1"])
    }

    /// The TLS of a listener that speaks HTTP/1.1 alone.
    ///
    /// # Errors
    ///
    /// When there is no randomness for the keys of session tickets.
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
        // Tickets hold no state here, so that resumption costs no memory for each client.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }

    /// Whether there is a certificate for a name, so that none has to be made.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.by_name(name).is_some()
    }

    /// Whether a leaf may be made for a name that is nobody's.
    pub(crate) fn may_sign_for_stranger(&self) -> bool {
        lock(&self.strange).try_take(1.0, Instant::now())
    }

    /// Makes a leaf for a name. Others do not wait for the signature.
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

    /// What there is for a name, without making anything.
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
        // After a month of running, a signature for each handshake by address is cheaper than a lock in all.
        self.authority.leaf(&self.names).ok().map(Arc::new)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            // A name that is no endpoint still gets an answer, so that the client sees a 403 as in AWS,
            // if it does not mind the name of the certificate.
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

/// Whether a certificate is valid for a name, by the rules that clients go by.
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
