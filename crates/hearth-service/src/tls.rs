//! Certificates of the listeners, and the certificates that clients must trust.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use hearth_endpoint::{Authority, Certificates, bundle_path};
use hearth_front::Transport;

use crate::config::{Hosting, ServiceConfig};
use crate::error::{ServiceError, file, part};

/// The host's own certificates, on Debian and its relatives.
const HOST_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Directory of the local authority, in the data directory.
const AUTHORITY: &str = "authority";

/// Certificates of the local authority, and the operator's certificate if there is one.
pub(crate) fn certificates(config: &ServiceConfig) -> Result<Arc<Certificates>, ServiceError> {
    let directory = config.data.join(AUTHORITY);
    fs::create_dir_all(&directory).map_err(file("make the directory", &directory))?;
    let authority = Authority::open(&directory);
    let authority = authority.map_err(part("the certificate authority"))?;
    let mut names = config.tls.names.clone();
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    let mut certificates =
        Certificates::new(authority, &names).map_err(part("the certificates"))?;
    if let Some(own) = &config.tls.own {
        certificates = certificates
            .with_own(&own.chain, &own.key)
            .map_err(part("the certificate of the configuration"))?;
    }
    Ok(Arc::new(certificates))
}

/// How the API is protected.
pub(crate) fn transport(
    config: &ServiceConfig,
    certificates: &Arc<Certificates>,
) -> Result<Transport, ServiceError> {
    if config.tls.is_api_encrypted {
        let tls = certificates.http1_tls().map_err(part("TLS of the API"))?;
        return Ok(Transport::Tls(Arc::new(tls)));
    }
    Ok(match config.hosting {
        Hosting::Hardware => Transport::Loopback,
        Hosting::Emulated => Transport::PrivateNetwork,
    })
}

/// The URL of the API, as clients are given it.
pub(crate) fn url(config: &ServiceConfig, listening: SocketAddr) -> String {
    let scheme = match config.tls.is_api_encrypted {
        true => "https",
        false => "http",
    };
    let port = listening.port();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match (config.tls.names.first(), config.hosting) {
        (Some(name), _) if name.parse::<Ipv6Addr>().is_ok() => {
            format!("{scheme}://[{name}]:{port}")
        }
        (Some(name), _) => format!("{scheme}://{name}:{port}"),
        (None, Hosting::Emulated) => format!("{scheme}://{loopback}"),
        (None, Hosting::Hardware) if listening.ip().is_unspecified() => {
            format!("{scheme}://{loopback}")
        }
        (None, Hosting::Hardware) => format!("{scheme}://{listening}"),
    }
}

/// The certificates that clients must trust, as PEM: the local authority. With a certificate of the operator's also its
/// issuers and the authorities that this host trusts, since one of them has signed it.
pub(crate) fn client_bundle(config: &ServiceConfig) -> Result<String, ServiceError> {
    let mut bundle = read(&bundle_path(&config.data.join(AUTHORITY)))?;
    if let Some(own) = &config.tls.own {
        bundle.push_str(&read(&own.chain)?);
        match fs::read_to_string(HOST_BUNDLE) {
            Ok(host) => bundle.push_str(&host),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file("read", Path::new(HOST_BUNDLE))(error)),
        }
    }
    Ok(bundle)
}

/// The text of a PEM file, which ends with the end of a line.
fn read(path: &Path) -> Result<String, ServiceError> {
    let mut text = fs::read_to_string(path).map_err(file("read", path))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
