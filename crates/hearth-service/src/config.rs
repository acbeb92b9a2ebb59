//! Configuration of a service.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hearth_control::id::{AccountId, Region};
use hearth_control::policy::Quotas;
use hearth_host::{ExternalS3, RegistryLogins, RuleSets, ShortMemory};
use hearth_image::{ArtifactLimits, BuildLimits, Registries};
use hearth_node::DeviceLimits;

/// Everything that differs from host to host. Validated before a port is opened.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// The data directory.
    pub data: PathBuf,
    /// The program that runs one microVM: `hearth-vmm`.
    pub vmm_program: PathBuf,
    /// A statically linked busybox: the tools of builder microVMs.
    pub busybox: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where metrics are shown to whoever asks, with the ids of microVMs.
    pub metrics_listen: Option<SocketAddr>,
    /// How the API and the endpoints are encrypted.
    pub tls: TlsConfig,
    /// The AWS region of the service.
    pub region: Region,
    /// How endpoints are named and where they listen.
    pub endpoints: EndpointConfig,
    /// The kind of host that runs the microVMs.
    pub hosting: Hosting,
    /// Factor on every hook timeout; one on a host of usual speed.
    pub hook_timeout_scale: u32,
    /// Names that Dockerfiles may say in `FROM`, and the images that stand for them.
    pub image_aliases: BTreeMap<String, String>,
    /// Size limit of each account's cache of layers, in bytes; 0 disables it.
    pub layer_cache_bytes: u64,
    /// Whether builders and applications begin from templates of the booted guest.
    pub has_boot_templates: bool,
    /// What the zip of an image may be.
    pub artifact_limits: ArtifactLimits,
    /// What a build may take.
    pub build_limits: BuildLimits,
    /// Where images come from that are not bases, and how.
    pub registries: Registries,
    /// The operator's logins there, and whose builds use them.
    pub registry_logins: RegistryLogins,
    /// The S3 that holds artifacts, if it is not this service's own.
    pub s3: Option<ExternalS3>,
    /// How long a multipart upload to this service's S3 may receive nothing before it is removed; `None` keeps it.
    pub upload_silence: Option<Duration>,
    /// Quotas of each account.
    pub quotas: Quotas,
    /// Quotas of single accounts, instead of the general ones.
    pub account_quotas: BTreeMap<AccountId, Quotas>,
    /// Networks of microVMs.
    pub network: NetworkConfig,
    /// Whether a control group limits each VMM's memory, processor time and processes.
    pub has_host_limits: bool,
    /// What this process may take of the host's memory, in bytes.
    pub service_memory_bytes: u64,
    /// When the host's memory counts as short; `None` leaves that to the kernel.
    pub short_memory: Option<ShortMemory>,
    /// Rate limits of each microVM's disks and network card.
    pub device_limits: DeviceLimits,
    /// Users under which VMMs run, if this process is root.
    pub users: RangeInclusive<u32>,
    /// Addresses behind which many clients are.
    pub proxies: Vec<IpAddr>,
    /// Whether connections and bandwidth of endpoints are limited by size tier, as on AWS.
    pub has_endpoint_limits: bool,
}

impl ServiceConfig {
    /// Whether the API's listener shows metrics of the host without a signature: where only this machine reaches it.
    /// An emulated host is reached through the loopback of the machine around it alone, and addresses inside do not
    /// say so.
    pub(crate) fn has_metrics_on_api(&self) -> bool {
        let is_private = match self.hosting {
            Hosting::Emulated => true,
            Hosting::Hardware => self.listen.ip().is_loopback(),
        };
        is_private && self.metrics_listen.is_none()
    }
}

/// How the API and the endpoints are encrypted. Endpoints always are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Whether the API is encrypted. Required if it listens beyond the loopback.
    pub is_api_encrypted: bool,
    /// The operator's certificate, for connections that ask for a name that it covers.
    pub own: Option<OwnCertificate>,
    /// Names and addresses of this host other than localhost. The first one is in the URL that clients are given.
    pub names: Vec<String>,
}

/// Files of the operator, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The certificate and its intermediates.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Networks of microVMs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Whether microVMs have no network card at all.
    pub is_off: bool,
    /// Whether microVMs and builds that name no connector reach nothing, instead of the internet as on AWS.
    pub is_closed_by_default: bool,
    /// Name servers to which guests' queries are forwarded; empty means the host's own servers.
    pub name_servers: Vec<SocketAddr>,
    /// Egress rules of each `subnet-...` in a connector.
    pub subnets: RuleSets,
    /// Egress rules of each `sg-...` in a connector, in addition to those of its subnets.
    pub security_groups: RuleSets,
}

/// How endpoints are named and where they listen.
#[derive(Debug, Clone)]
pub enum EndpointConfig {
    /// A port of the loopback for each microVM.
    Ports(RangeInclusive<u16>),
    /// `<endpoint id>.<domain>`, all on one listener.
    Domain {
        /// The domain.
        domain: String,
        /// The listener.
        listen: SocketAddr,
    },
}

/// The kind of host that runs the microVMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosting {
    /// This machine's KVM.
    Hardware,
    /// This process runs inside the emulated host, whose network card only the machine around it reaches.
    Emulated,
}

/// How much longer everything in a guest takes on the emulated host: measured 20 to 30 times
/// (docs/emulated-host.md). Hook timeouts are multiplied by it.
const EMULATED_HOOK_SCALE: u32 = 30;

impl Hosting {
    /// Factor on every hook timeout, at least.
    pub fn least_hook_timeout_scale(self) -> u32 {
        match self {
            Self::Hardware => 1,
            Self::Emulated => EMULATED_HOOK_SCALE,
        }
    }

    /// The address on which the endpoint ports listen. Callers see 127.0.0.1 either way.
    pub(crate) fn endpoint_address(self) -> IpAddr {
        match self {
            Self::Hardware => Ipv4Addr::LOCALHOST.into(),
            Self::Emulated => Ipv4Addr::UNSPECIFIED.into(),
        }
    }
}
