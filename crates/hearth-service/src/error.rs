//! Why the service does not start, or has ended.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hearth_net::NetworkError;

/// Why the service does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Another process uses the data directory.
    #[error("another hearth uses {0}; stop it first, or choose another --data")]
    InUse(PathBuf),
    /// A file or directory of the data directory failed.
    #[error("cannot {step} {path}")]
    File {
        /// The step that failed.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// An address is in use, or is not an address of this host.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// There is no guest kernel.
    #[error("there is no guest kernel yet; `hearth base build` makes one")]
    NoBase,
    /// The base images of builds are missing.
    #[error("the base images of builds are missing; `hearth base prepare` makes them")]
    NoBases,
    /// This host cannot give microVMs a network.
    #[error("no networks for microVMs; --no-network starts without them")]
    Network(#[source] NetworkError),
    /// This host has no control groups to limit VMMs.
    #[error("microVMs cannot be limited on this host; --no-host-limits starts without")]
    Limits(#[source] hearth_node::NodeError),
    /// A part could not be opened.
    #[error("cannot open {part}")]
    Part {
        /// Name of the part.
        part: &'static str,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

pub(crate) fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServiceError {
    let path = path.to_owned();
    move |source| ServiceError::File { step, path, source }
}

pub(crate) fn part<E>(part: &'static str) -> impl FnOnce(E) -> ServiceError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| ServiceError::Part {
        part,
        source: Box::new(source),
    }
}
