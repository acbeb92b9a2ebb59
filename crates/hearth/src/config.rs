//! The configuration: one TOML file, with flags and environment over it.
//!
//! ```text
//! defaults  <-  the file (--config, HEARTH_CONFIG, /etc/hearth/hearth.toml)  <-  environment and flags
//! ```
//!
//! Each table of the file is a type with defaults in a module of its own. A new table needs: its module, its field in
//! [`Config`], its entry in `packaging/hearth.toml` and `docs/configuration.md` (tests compare both with the type). The
//! service inside the emulated host gets the whole configuration as a file, so nothing else is needed.

mod endpoints;
mod images;
mod limits;
mod memory;
mod metrics;
mod network;
mod quotas;
mod registries;
mod s3;
mod string_form;
mod tls;
mod users;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use hearth_control::id::Region;
use serde::{Deserialize, Serialize};

use crate::cli::service::UpArguments;

pub(crate) use endpoints::{Endpoints, PortRange};
pub(crate) use images::{ImageAlias, Images};
pub(crate) use limits::Limits;
pub(crate) use memory::Memory;
pub(crate) use metrics::Metrics;
pub(crate) use network::Network;
pub(crate) use quotas::Quotas;
#[cfg(test)]
pub(crate) use registries::Login;
pub(crate) use registries::Registries;
pub(crate) use s3::S3;
pub(crate) use tls::Tls;
pub(crate) use users::UserRange;

/// The file that is read if no other one is named and it exists.
const STANDARD_PLACE: &str = "/etc/hearth/hearth.toml";

/// Largest configuration file in bytes: far above any file written by hand.
const MAX_BYTES: usize = 1 << 20;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Address on which the API listens.
    pub(crate) listen: SocketAddr,
    /// Addresses of proxies, from which connections of many clients come.
    pub(crate) proxies: Vec<IpAddr>,
    /// The AWS region of the service.
    #[serde(with = "string_form")]
    pub(crate) region: Region,
    /// Whether control groups limit each microVM's use of the host.
    pub(crate) host_limits: bool,
    /// Factor on the timeouts of hooks.
    pub(crate) hook_timeout_scale: u32,
    /// Range of the users under which VMMs run, one for each microVM.
    #[serde(with = "string_form")]
    pub(crate) users: UserRange,
    /// The table `[tls]`.
    pub(crate) tls: Tls,
    /// The table `[endpoints]`.
    pub(crate) endpoints: Endpoints,
    /// The table `[images]`.
    pub(crate) images: Images,
    /// The table `[registries]`.
    pub(crate) registries: Registries,
    /// The table `[s3]`.
    pub(crate) s3: S3,
    /// The table `[network]`.
    pub(crate) network: Network,
    /// The table `[limits]`.
    pub(crate) limits: Limits,
    /// The table `[memory]`.
    pub(crate) memory: Memory,
    /// The table `[quotas]`.
    pub(crate) quotas: Quotas,
    /// The table `[metrics]`.
    pub(crate) metrics: Metrics,
}

/// Default region: the one that AWS's tools fall back to.
const DEFAULT_REGION: &str = "us-east-1";

/// Allowed factors on hook timeouts. 1 is AWS's behaviour. With 100, a hook of a minute may take longer than anybody
/// waits.
const HOOK_TIMEOUT_SCALES: RangeInclusive<u32> = 1..=100;

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "/var/lib/hearth".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 4580)),
            proxies: Vec::new(),
            region: default_region(),
            host_limits: true,
            hook_timeout_scale: 1,
            users: UserRange::default(),
            tls: Tls::default(),
            endpoints: Endpoints::default(),
            images: Images::default(),
            registries: Registries::default(),
            s3: S3::default(),
            network: Network::default(),
            limits: Limits::default(),
            memory: Memory::default(),
            quotas: Quotas::default(),
            metrics: Metrics::default(),
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant, which a test reads")]
fn default_region() -> Region {
    DEFAULT_REGION.parse().expect("the default is a region")
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or has an unknown key or an invalid value.
    #[error("the configuration {path} is wrong")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Values contradict each other.
    #[error("the configuration is wrong: {0}")]
    Contradiction(String),
}

impl Config {
    /// Loads the named file, or else the one at the standard path, or else the defaults.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(STANDARD_PLACE));
        match read(path) {
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read {
                path: path.to_owned(),
                source,
            }),
            Ok(text) => toml::from_str(&text).map_err(|source| ConfigError::Parse {
                path: path.to_owned(),
                source: Box::new(source),
            }),
        }
    }

    /// Applies the arguments of `hearth up`.
    pub(crate) fn under(mut self, arguments: &UpArguments) -> Self {
        fn set<T: Clone>(place: &mut T, argument: Option<&T>) {
            if let Some(argument) = argument {
                place.clone_from(argument);
            }
        }
        set(&mut self.listen, arguments.listen.as_ref());
        set(&mut self.region, arguments.region.as_ref());
        if arguments.tls {
            self.tls.api = true;
        }
        set(&mut self.endpoints.ports, arguments.endpoint_ports.as_ref());
        if arguments.endpoint_domain.is_some() {
            self.endpoints.domain.clone_from(&arguments.endpoint_domain);
        }
        if arguments.endpoint_listen.is_some() {
            self.endpoints.listen = arguments.endpoint_listen;
        }
        if arguments.build_ca_bundle.is_some() {
            self.registries
                .ca_bundle
                .clone_from(&arguments.build_ca_bundle);
        }
        if arguments.no_network {
            self.network.enabled = false;
        }
        set(
            &mut self.hook_timeout_scale,
            arguments.hook_timeout_scale.as_ref(),
        );
        if arguments.no_host_limits {
            self.host_limits = false;
        }
        if arguments.no_endpoint_limits {
            self.endpoints.limits = false;
        }
        let aliases = arguments.image_aliases.iter().cloned();
        self.images
            .aliases
            .extend(aliases.map(|alias| (alias.name, alias.base)));
        self
    }

    /// Checks that the values fit together. Called before anything is opened.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let problems = [
            self.tls.problem(),
            self.endpoints.problem(),
            self.images.problem(),
            self.registries.problem(),
            self.s3.problem(),
            self.network.problem(),
            self.limits.problem(),
            self.memory.problem(),
            self.quotas.problem(),
            self.users_problem(),
            self.hook_problem(),
        ];
        match problems.into_iter().flatten().next() {
            Some(problem) => Err(ConfigError::Contradiction(problem)),
            None => Ok(()),
        }
    }

    fn users_problem(&self) -> Option<String> {
        let ports = self.endpoints.ports.0.len();
        (self.endpoints.domain.is_none() && self.users.count() < ports).then(|| {
            format!(
                "users = \"{}\" are fewer than endpoints.ports, {ports}, and each microVM has one of its own",
                self.users
            )
        })
    }

    fn hook_problem(&self) -> Option<String> {
        (!HOOK_TIMEOUT_SCALES.contains(&self.hook_timeout_scale)).then(|| {
            format!(
                "hook_timeout_scale = {} is not one of {} to {}",
                self.hook_timeout_scale,
                HOOK_TIMEOUT_SCALES.start(),
                HOOK_TIMEOUT_SCALES.end()
            )
        })
    }

    /// Checks the addresses. Not called inside the emulated host, where addresses are others.
    pub(crate) fn check_reach(&self) -> Result<(), ConfigError> {
        let problem = if !self.listen.ip().is_loopback() && !self.tls.api {
            Some(format!(
                "listen = \"{}\" is not on the loopback, and answers hold tokens: encrypt them, with tls.api = true \
                 or --tls",
                self.listen
            ))
        } else if self.endpoints.domain.is_none()
            && self.endpoints.ports.0.contains(&self.listen.port())
        {
            Some(format!(
                "endpoints.ports = \"{}\" has the port of the API, {}",
                self.endpoints.ports,
                self.listen.port()
            ))
        } else if self.metrics.listen == Some(self.listen) {
            Some(format!(
                "metrics.listen is the listener of the API, {}; choose another port",
                self.listen
            ))
        } else {
            None
        };
        problem.map_or(Ok(()), |problem| Err(ConfigError::Contradiction(problem)))
    }

    /// The configuration as the text of a file.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    if text.len() > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}
