//! The local certificate authority: TLS without any work for the operator.
//!
//! Two files: `ca-key.pem` (0600) and `ca.pem`, which clients trust. They are created at the first start and kept,
//! because clients that trust the authority must keep working. Its name is derived from its key, so clients can trust
//! the authorities of two hosts side by side, and the certificate need never be parsed again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

use crate::private_file;

/// As long as an installation may live: a new authority would have to be installed on every client.
const AUTHORITY_DAYS: i64 = 3650;

/// Browsers refuse leaves of more than 398 days.
const LEAF_DAYS: i64 = 397;

/// Clients' clocks may be behind this host's.
const BACKDATE: Duration = Duration::days(1);

/// Why the certificate authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The key or certificate is not one that Hearth wrote.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A certificate could not be created.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// rustls does not accept the key of the leaf certificates.
    #[error("the key of the leaves is not usable")]
    LeafKey(#[from] rustls::Error),
}

/// The local certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// All leaf certificates of this process share one key, which never leaves its memory.
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn rustls::sign::SigningKey>,
}

impl Authority {
    /// Reads the authority in `directory`. Creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`].
    pub fn open(directory: &Path) -> Result<Self, AuthorityError> {
        let key = open_key(&directory.join("ca-key.pem"))?;
        let params = authority_params(&key);
        let certificate = open_certificate(&bundle_path(directory), &params, &key)?;
        let leaf_key = KeyPair::generate()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            leaf_signer: any_ecdsa_type(&der)?,
            leaf_key,
        })
    }

    /// Issues a certificate for these names and addresses, valid from now on.
    pub(crate) fn leaf(&self, names: &[String]) -> Result<CertifiedKey, AuthorityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name("Hearth endpoint");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lives_for(&mut params, LEAF_DAYS);
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&self.leaf_signer)))
    }

    /// The certificate of the authority, for clients to trust.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// The path of the bundle that clients are to trust.
#[must_use]
pub fn bundle_path(directory: &Path) -> PathBuf {
    directory.join("ca.pem")
}

fn open_key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let damaged = |_| AuthorityError::Damaged {
        path: path.to_owned(),
    };
    if let Some(pem) = read(path)? {
        return KeyPair::from_pem(&pem).map_err(damaged);
    }
    let key = KeyPair::generate()?;
    write(path, &key.serialize_pem())?;
    Ok(key)
}

fn open_certificate(
    path: &Path,
    params: &CertificateParams,
    key: &KeyPair,
) -> Result<CertificateDer<'static>, AuthorityError> {
    if let Some(pem) = read(path)? {
        return CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            AuthorityError::Damaged {
                path: path.to_owned(),
            }
        });
    }
    let certificate = params.self_signed(key)?;
    write(path, &certificate.pem())?;
    Ok(certificate.der().clone())
}

fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = params.key_identifier(key);
    let id: String = id
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = common_name(&format!("Hearth local CA {id}"));
    // Path length zero: the authority signs leaf certificates, never another authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lives_for(&mut params, AUTHORITY_DAYS);
    params
}

fn lives_for(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATE;
    params.not_after = now - BACKDATE + Duration::days(days);
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn read(path: &Path) -> Result<Option<String>, AuthorityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AuthorityError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), AuthorityError> {
    private_file::write(path, text.as_bytes()).map_err(|source| AuthorityError::Write {
        path: path.to_owned(),
        source,
    })
}
