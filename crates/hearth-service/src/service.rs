//! The service put together, in the order in which it starts.
//!
//! ```text
//! lock the data directory -> bind the listeners -> open the stores -> finish what a crash interrupted
//!    -> control plane (takes up living microVMs, removes orphaned instances) -> endpoints -> front
//! ```
//!
//! Stopping leaves microVMs alone: their processes run on, and the next start takes them up again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hearth_base::BaseVersion;
use hearth_control::account::KeyStatus;
use hearth_control::arn::ManagedConnector;
use hearth_control::endpoint::EndpointScheme;
use hearth_control::id::AccountId;
use hearth_control::policy::{Policy, Quotas};
use hearth_control::store::{SqliteStore, Store, StoreError};
use hearth_control::throttle::Rates;
use hearth_control::{Control, ControlConfig};
use hearth_endpoint::{Certificates, Endpoint, ListenerRoute, Settings, Sources, TokenKeys};
use hearth_front::{
    ControlMetrics, Front, FrontConfig, FrontMetrics, Invocations, KnownHosts, MemoryShares,
    MetricsPage, PageTokens, SessionKey, Transport, serve, serve_metrics,
};
use hearth_functions::{FunctionLimits, Functions};
use hearth_host::{
    Artifacts, ConnectorEgress, LocalHost, OutputStore, PressureWatch, VersionBuilder, rule_book,
};
use hearth_image::{Bases, LayerCaches};
use hearth_invoke::Invoker;
use hearth_logs::{AccountLogLimits, LogLimits, LogStore};
use hearth_net::{Network, NetworkOptions};
use hearth_node::{Groups, Node, NodeOptions, Shares, with_causes};
use hearth_objects::ObjectStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::activity::ActivityWatch;
use crate::backend::HostBackend;
use crate::client_settings::ClientSettings;
use crate::clock;
use crate::config::{EndpointConfig, Hosting, ServiceConfig};
use crate::disks::HostDisks;
use crate::endpoint_ports::EndpointPorts;
use crate::error::{ServiceError, file, part};
use crate::guest_services::GuestServices;
use crate::guests::HostGuests;
use crate::housekeeping::Housekeeping;
use crate::memory::MemoryMetrics;
use crate::tokens::Tokens;
use crate::write_crash_point::WriteCrashPoint;
use crate::{disk_reserve, invocations, platform, secret_file, tls};

/// Connections of API clients at one time; each costs a few KiB.
const MAX_API_CONNECTIONS: usize = 10_000;

/// The part of this process's memory in which lines of guests wait for the log store, as `hearth_front::MemoryShares` leaves it.
const LINE_PARTS: u64 = 16;

/// The least that this process may be given of the host's memory.
pub const LEAST_MEMORY_BYTES: u64 = MemoryShares::LEAST_BYTES;

/// A service that is up.
pub struct Service {
    control: Control,
    invoker: Invoker,
    front: JoinHandle<()>,
    metrics: JoinHandle<()>,
    endpoints: JoinHandle<()>,
    activity: JoinHandle<()>,
    pressure: JoinHandle<()>,
    shares: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    stop: watch::Sender<bool>,
    settings: ClientSettings,
    _lock: File,
}

/// How long environments of functions may take to end when the service stops. What is left the next start ends.
const ENVIRONMENTS_LIMIT: Duration = Duration::from_secs(10);

/// The parts that others are built from during a start.
struct Parts {
    store: Arc<dyn Store>,
    logs: Arc<LogStore>,
    objects: Arc<ObjectStore>,
    functions: Arc<Functions>,
    host: LocalHost,
    services: GuestServices,
    groups: Option<Groups>,
    keys: Arc<TokenKeys>,
}

impl Service {
    /// Starts everything; requests are served when this returns.
    ///
    /// # Errors
    ///
    /// [`ServiceError`]: nothing listens.
    pub async fn start(config: &ServiceConfig) -> Result<Self, ServiceError> {
        let lock = lock(&config.data)?;
        let certificates = tls::certificates(config)?;
        let api = listen(config.listen).await?;
        let shared_listener = match &config.endpoints {
            EndpointConfig::Ports(_) => None,
            EndpointConfig::Domain {
                listen: address, ..
            } => Some(listen(*address).await?),
        };
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let reserve = disk_reserve::release(&config.data);
        let parts = open_parts(config).await?;
        let control = start_control(config, &parts).await?;
        for microvm in control.living_microvms() {
            // An operation that has ended the old VMM and not started the new one follows the new one itself.
            if !microvm.is_between_machines() {
                parts.host.take_up(&microvm.instance());
            }
        }
        let (stop, stopped) = watch::channel(false);
        let transport = tls::transport(config, &certificates)?;
        let endpoint = endpoint(config, &control, &parts, &certificates)?;
        let sessions = session_key(config)?;
        let stores = (&parts.logs, &parts.functions);
        let invocations =
            invocations::open(config, &control, &parts.host, stores, sessions.clone()).await?;
        let invoker = invocations.invoker.clone();
        let (front, page) = front(config, &control, &parts, sessions, invocations)?;
        let front = Arc::new(front);
        parts.services.begin(Arc::clone(&front));
        let address = api.local_addr().unwrap_or(config.listen);
        let settings = client_settings(config, &control, address).await?;
        let activity = ActivityWatch::new(control.clone(), parts.host.clone());
        let housekeeping = Housekeeping {
            logs: Arc::clone(&parts.logs),
            objects: Arc::clone(&parts.objects),
            upload_silence: config.upload_silence,
        };
        drop(reserve);
        Ok(Self {
            housekeeping: tokio::spawn(housekeeping.keep(stopped.clone())),
            activity: tokio::spawn(activity.keep(stopped.clone())),
            pressure: spawn_pressure(config, &parts.host, stopped.clone()),
            shares: tokio::spawn(keep_shares(parts.groups, stopped.clone())),
            // Endpoints first: a client that the front has answered may use them at once.
            endpoints: spawn_endpoints(
                config,
                &control,
                endpoint,
                shared_listener,
                stopped.clone(),
            )
            .await,
            metrics: spawn_metrics(config, page, metrics_listener, stopped.clone()),
            front: spawn_front(front, api, transport, sources(config), stopped),
            control,
            invoker,
            stop,
            settings,
            _lock: lock,
        })
    }

    /// Settings for clients of this service.
    #[must_use]
    pub fn client_settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Ends every microVM of every account and waits until they are gone.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn terminate_all(&self) -> Result<(), ServiceError> {
        self.control
            .terminate_all()
            .await
            .map_err(part("the store"))
    }

    /// Lets requests in flight finish and stops. MicroVMs run on.
    pub async fn stop(self) {
        // Every running task has a receiver.
        let _ = self.stop.send(true);
        let _ = tokio::join!(
            self.front,
            self.metrics,
            self.endpoints,
            self.activity,
            self.pressure,
            self.shares,
            self.housekeeping
        );
        self.invoker.close(ENVIRONMENTS_LIMIT).await;
        self.control.stop().await;
    }
}

/// Locks a data directory for this process, until the file is closed. A service takes the lock, and so does each
/// command that changes state that a service keeps in memory.
///
/// # Errors
///
/// [`ServiceError::InUse`] when another process has it.
pub fn lock(data: &Path) -> Result<File, ServiceError> {
    fs::create_dir_all(data).map_err(file("make the directory", data))?;
    // Whoever made the directory: the keys, disks and memory of tenants below it are private.
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).map_err(file("close", data))?;
    let path = data.join("service.lock");
    let file_handle = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(file("open", &path))?;
    match file_handle.try_lock() {
        Ok(()) => Ok(file_handle),
        Err(fs::TryLockError::WouldBlock) => Err(ServiceError::InUse(data.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(file("lock", &path)(source)),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServiceError::Listen { address, source })
}

/// Limits on each account's logs.
fn log_limits(config: &ServiceConfig) -> LogLimits {
    let limits = |quotas: &Quotas| AccountLogLimits {
        max_bytes: i64::try_from(quotas.log_bytes()).unwrap_or(i64::MAX),
        events_per_second: quotas.log_events_per_second,
    };
    LogLimits {
        account: limits(&config.quotas),
        accounts: Arc::new(of_accounts(config, limits)),
        ..LogLimits::default()
    }
}

/// Limits on each account's objects.
fn object_limits(config: &ServiceConfig) -> hearth_objects::ObjectLimits {
    hearth_objects::ObjectLimits {
        max_account_bytes: config.quotas.object_bytes(),
        accounts: Arc::new(of_accounts(config, Quotas::object_bytes)),
        ..hearth_objects::ObjectLimits::default()
    }
}

/// A quota of the accounts that have quotas of their own.
fn of_accounts<T>(config: &ServiceConfig, of: impl Fn(&Quotas) -> T) -> BTreeMap<String, T> {
    let accounts = config.account_quotas.iter();
    accounts
        .map(|(account, quotas)| (account.to_string(), of(quotas)))
        .collect()
}

async fn open_parts(config: &ServiceConfig) -> Result<Parts, ServiceError> {
    let data = &config.data;
    let logs = LogStore::open(&data.join("logs.db"), log_limits(config));
    let logs = Arc::new(logs.map_err(part("the log store"))?);
    let objects = ObjectStore::open_within(&data.join("objects"), object_limits(config));
    let objects = Arc::new(objects.map_err(part("the object store"))?);
    let functions = Functions::open(&data.join("functions"), FunctionLimits::default());
    let functions = Arc::new(functions.map_err(part("the store of functions"))?);
    let keys = TokenKeys::open(&data.join("endpoint-keys.json"), SystemTime::now());
    let keys = Arc::new(keys.map_err(part("the keys of endpoint tokens"))?);
    let store = open_store(data);
    let store: Arc<dyn Store> = Arc::new(store.map_err(part("the store"))?);
    let groups = groups(config)?;
    let options = NodeOptions {
        network: network(config).await?,
        groups: groups.clone(),
        limits: config.device_limits,
        ..NodeOptions::new(data.clone(), config.vmm_program.clone())
    };
    let node = Node::open(options.with_users(config.users.clone())).map_err(part("the node"))?;
    let swept = node.sweep().await.map_err(part("the node"))?;
    for machine in &swept.machines {
        tracing::info!(machine, "removed what was left of a machine");
    }
    let bases = Bases::open(&data.join("bases"))
        .map_err(part("the base images"))?
        .ok_or(ServiceError::NoBases)?;
    let base = newest_base(data)?;
    let builder_initramfs = builder_initramfs(config, &base)?;
    let booted = [base.initramfs(), builder_initramfs.clone()];
    let booted = booted.map(|initramfs| (base.vmlinux(), initramfs));
    let booted = if config.has_boot_templates {
        &booted[..]
    } else {
        &[]
    };
    node.sweep_booted(booted).await.map_err(part("the node"))?;
    remove_unused_bases(&node, &bases)?;
    let connector_egress = ConnectorEgress::new(
        Arc::clone(&store),
        config.network.subnets.clone(),
        config.network.security_groups.clone(),
    );
    let line_bytes = config.service_memory_bytes / LINE_PARTS;
    let output = OutputStore::new(Arc::clone(&logs), line_bytes);
    let version_builder = VersionBuilder {
        directory: data.join("images"),
        builder_initramfs,
        base,
        bases,
        aliases: config.image_aliases.clone(),
        caches: Arc::new(LayerCaches::new(
            data.join("caches"),
            config.layer_cache_bytes,
        )),
        registries: config.registries.clone(),
        registry_logins: config.registry_logins.clone(),
        artifacts: match &config.s3 {
            Some(other) => Artifacts::External(other.clone()),
            None => Artifacts::Own(Arc::clone(&objects)),
        },
        logs: output.clone(),
        connector_egress: connector_egress.clone(),
        has_boot_templates: config.has_boot_templates,
        artifact_limits: config.artifact_limits.clone(),
        build_limits: config.build_limits,
        hook_timeout_scale: config.hook_timeout_scale,
    };
    let services = GuestServices::default();
    let guest_server = Arc::new(services.clone());
    let host = LocalHost::new(
        node,
        output,
        connector_egress,
        version_builder,
        guest_server,
    );
    Ok(Parts {
        store,
        logs,
        objects,
        functions,
        host,
        services,
        groups,
        keys,
    })
}

/// In a debug build a test may choose a write at which this process ends.
fn open_store(data: &Path) -> Result<SqliteStore, StoreError> {
    let path = data.join("control.db");
    if !cfg!(debug_assertions) {
        return SqliteStore::open(&path);
    }
    let mut point = WriteCrashPoint::new(data);
    SqliteStore::open_watched(&path, move |moment| point.reach(moment))
}

/// Removes sets of base images that no version, microVM or build needs. Only at the start: later, a build may be about
/// to use the set that was current when this process began.
fn remove_unused_bases(node: &Node, bases: &Bases) -> Result<(), ServiceError> {
    if !node.damaged().map_err(part("the node"))?.is_empty() {
        // A damaged record may be the one that names its set, and an operator may repair it.
        return Ok(());
    }
    let mut disks = Vec::new();
    for snapshot in node.snapshots() {
        disks.extend(snapshot.record.disks.iter().map(|disk| disk.base.clone()));
    }
    for (_, record) in node.machines() {
        disks.extend(record.disks.iter().map(|disk| disk.base.clone()));
    }
    // By the set's id: the data directory may have had another path when the disk was recorded.
    let lies_in = |disk: &PathBuf, set: &str| disk.iter().any(|component| component == set);
    let removed = bases.remove_others(|set| disks.iter().any(|disk| lies_in(disk, set)));
    for set in removed.map_err(file("remove base images of", bases.directory()))? {
        tracing::info!(set, "removed base images that nothing stands on");
    }
    Ok(())
}

/// Control groups for VMMs, unless the configuration turns them off.
fn groups(config: &ServiceConfig) -> Result<Option<Groups>, ServiceError> {
    if !config.has_host_limits {
        return Ok(None);
    }
    if config.device_limits.disk.is_some()
        && let Err(reason) = hearth_node::limitable_device(&config.data)
    {
        tracing::warn!(%reason, "only a microVM's own disks are limited, not what its VMM reads of snapshots");
    }
    let groups = Groups::open(&config.data);
    groups.map(Some).map_err(ServiceError::Limits)
}

/// Adjusts the processor shares of microVMs until the service stops: those that use little run first.
async fn keep_shares(groups: Option<Groups>, mut stopped: watch::Receiver<bool>) {
    let Some(groups) = groups else {
        return;
    };
    let processors = std::thread::available_parallelism();
    let mut shares = Shares::new(groups, processors.map_or(1, usize::from));
    let looking = async move {
        loop {
            tokio::time::sleep(Shares::PAUSE).await;
            let look = tokio::task::spawn_blocking(move || {
                shares.look();
                shares
            });
            match look.await {
                Ok(after) => shares = after,
                // It panicked, or the runtime ends.
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = looking => {}
        _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
    }
}

/// Watches the memory of this host, where the kernel tells and the configuration wants it.
fn spawn_pressure(
    config: &ServiceConfig,
    host: &LocalHost,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let watch = config
        .short_memory
        .map(|short| PressureWatch::open(host.clone(), short));
    tokio::spawn(async move {
        match watch {
            Some(Ok(watch)) => watch.keep(stopped).await,
            Some(Err(error)) => tracing::warn!(
                %error,
                "the kernel does not tell when memory is short, so no microVM gives way before the kernel kills one; boot with psi=1"
            ),
            None => {}
        }
    })
}

/// Networks of microVMs, unless the configuration turns them off.
async fn network(config: &ServiceConfig) -> Result<Option<Network>, ServiceError> {
    if config.network.is_off {
        return Ok(None);
    }
    let options = NetworkOptions {
        state: config.data.join("resolver-port"),
        name_servers: config.network.name_servers.clone(),
    };
    let started = Network::start(options).await;
    started.map(Some).map_err(ServiceError::Network)
}

fn newest_base(data: &Path) -> Result<BaseVersion, ServiceError> {
    let versions = hearth_base::list(data).map_err(part("the guest kernels"))?;
    versions.into_iter().next_back().ok_or(ServiceError::NoBase)
}

/// The builders' initramfs. Made at every start: it is small, and its agent and busybox must be the current ones.
fn builder_initramfs(config: &ServiceConfig, base: &BaseVersion) -> Result<PathBuf, ServiceError> {
    let path = config.data.join("builder.cpio");
    hearth_image::write_initramfs(&base.initramfs(), &config.busybox, &path)
        .map_err(file("write", &path))?;
    Ok(path)
}

async fn start_control(config: &ServiceConfig, parts: &Parts) -> Result<Control, ServiceError> {
    let default_egress = match config.network.is_closed_by_default {
        true => ManagedConnector::NoEgress,
        false => ManagedConnector::InternetEgress,
    };
    let control = Control::start(ControlConfig {
        store: Arc::clone(&parts.store),
        host: Arc::new(parts.host.clone()),
        clock: Arc::new(clock::go_on(&config.data)),
        policy: Policy {
            quotas: config.quotas,
            account_quotas: config.account_quotas.clone(),
            capacity: platform::capacity(config.hosting),
            hook_timeout_scale: config.hook_timeout_scale,
            ..Policy::default()
        },
        rates: Rates::default(),
        endpoints: scheme(&config.endpoints),
        default_egress,
        rules: rule_book(&config.network.subnets, &config.network.security_groups),
        managed_images: platform::managed_images(&config.data)?,
        chipset_generation: platform::chipset_generation(),
    });
    control.await.map_err(part("the control plane"))
}

fn scheme(endpoints: &EndpointConfig) -> EndpointScheme {
    match endpoints {
        EndpointConfig::Ports(ports) => EndpointScheme::Ports {
            host: "127.0.0.1".to_owned(),
            ports: ports.clone(),
        },
        // Without a port in the URL, clients connect to port 443.
        EndpointConfig::Domain { domain, listen }
            if listen.port() == 443 || domain.contains(':') =>
        {
            EndpointScheme::Domain(domain.clone())
        }
        EndpointConfig::Domain { domain, listen } => {
            EndpointScheme::Domain(format!("{domain}:{}", listen.port()))
        }
    }
}

fn endpoint(
    config: &ServiceConfig,
    control: &Control,
    parts: &Parts,
    certificates: &Arc<Certificates>,
) -> Result<Endpoint, ServiceError> {
    let backend = HostBackend {
        control: control.clone(),
        host: parts.host.clone(),
        has_limits: config.has_endpoint_limits,
    };
    let keys = Arc::clone(&parts.keys);
    let settings = Settings {
        sources: sources(config),
        domain: match &config.endpoints {
            EndpointConfig::Ports(_) => None,
            EndpointConfig::Domain { domain, .. } => domain.split(':').next().map(str::to_owned),
        },
        ..Settings::default()
    };
    Endpoint::new(settings, Arc::new(backend), keys, certificates).map_err(part("the endpoints"))
}

/// Where connections come from: in the emulated host all from the machine around it.
fn sources(config: &ServiceConfig) -> Sources {
    match config.hosting {
        Hosting::Hardware => Sources::Many(config.proxies.clone()),
        Hosting::Emulated => Sources::One,
    }
}

/// The secret that keys of roles are derived from.
fn session_key(config: &ServiceConfig) -> Result<SessionKey, ServiceError> {
    let path = config.data.join("session-key");
    let key = secret_file::key(&path).map_err(file("read", &path))?;
    Ok(SessionKey::new(key))
}

fn front(
    config: &ServiceConfig,
    control: &Control,
    parts: &Parts,
    sessions: SessionKey,
    invocations: Invocations,
) -> Result<(Front, Arc<MetricsPage>), ServiceError> {
    let mut page = MetricsPage::default();
    let metrics = FrontMetrics::register(&mut page.host);
    ControlMetrics::register(&mut page.host, control.clone());
    MemoryMetrics::register(&mut page.microvms, parts.host.clone());
    let page = Arc::new(page);
    let page_key = config.data.join("page-key");
    let front = Front::new(FrontConfig {
        region: config.region.clone(),
        control: control.clone(),
        keys: Arc::new(control.clone()),
        sessions,
        logs: Arc::clone(&parts.logs),
        functions: Arc::clone(&parts.functions),
        invocations: Some(invocations),
        objects: Arc::clone(&parts.objects),
        s3_elsewhere: config.s3.as_ref().map(|other| other.endpoint().to_owned()),
        endpoint_tokens: Arc::new(Tokens(Arc::clone(&parts.keys))),
        guests: Arc::new(HostGuests(parts.host.clone())),
        disks: Arc::new(HostDisks(parts.host.clone())),
        pages: PageTokens::new(secret_file::key(&page_key).map_err(file("read", &page_key))?),
        audit_log: config.data.join("audit.log"),
        metrics,
        page: Arc::clone(&page),
        memory: MemoryShares::of(config.service_memory_bytes),
        metrics_shown_to: config
            .has_metrics_on_api()
            .then(|| KnownHosts::new(&config.tls.names)),
    });
    Ok((front.map_err(part("the front"))?, page))
}

/// Shows the metrics on the listener of their own, if there is one.
fn spawn_metrics(
    config: &ServiceConfig,
    page: Arc<MetricsPage>,
    listener: Option<TcpListener>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let hosts = KnownHosts::new(&config.tls.names);
    tokio::spawn(async move {
        let Some(listener) = listener else {
            return;
        };
        let stop = async move {
            let _ = stopped.wait_for(|&stop| stop).await;
        };
        serve_metrics(page, hosts, listener, stop).await;
    })
}

fn spawn_front(
    front: Arc<Front>,
    listener: TcpListener,
    transport: Transport,
    sources: Sources,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let stop = async move {
            let _ = stopped.wait_for(|&stop| stop).await;
        };
        let places = sources.places(MAX_API_CONNECTIONS);
        let served = serve(front, listener, transport, places, stop).await;
        if let Err(error) = served {
            tracing::error!(error = with_causes(&error), "the API does not listen");
        }
    })
}

async fn spawn_endpoints(
    config: &ServiceConfig,
    control: &Control,
    endpoint: Endpoint,
    shared_listener: Option<TcpListener>,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    match shared_listener {
        Some(listener) => tokio::spawn(async move {
            endpoint
                .serve(listener, ListenerRoute::Shared, stopped)
                .await;
        }),
        None => {
            let address = config.hosting.endpoint_address();
            let ports = EndpointPorts::open(control.clone(), endpoint, address).await;
            tokio::spawn(ports.keep(stopped))
        }
    }
}

/// Writes the settings for clients. Their key is an active key of the first account.
async fn client_settings(
    config: &ServiceConfig,
    control: &Control,
    address: SocketAddr,
) -> Result<ClientSettings, ServiceError> {
    let keys = control.access_keys(AccountId::FIRST).await;
    let keys = keys.map_err(part("the access keys"))?;
    let key = keys.iter().find(|key| key.status == KeyStatus::Active);
    let settings = ClientSettings {
        endpoint_url: tls::url(config, address),
        region: config.region.to_string(),
        access_key_id: key.map(|key| key.id.to_string()).unwrap_or_default(),
        secret_access_key: key
            .map(|key| key.secret.reveal().to_owned())
            .unwrap_or_default(),
        ca_bundle_pem: tls::client_bundle(config)?,
    };
    settings.write(&config.data)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_by_domain_say_their_port_where_it_is_not_that_of_https() {
        let named = |domain: &str, port| {
            let domain = domain.to_owned();
            let listen = SocketAddr::from(([0, 0, 0, 0], port));
            match scheme(&EndpointConfig::Domain { domain, listen }) {
                EndpointScheme::Domain(name) => name,
                EndpointScheme::Ports { .. } => panic!("it is a domain"),
            }
        };
        assert_eq!(named("x.org", 443), "x.org");
        assert_eq!(named("x.org", 8443), "x.org:8443");
        assert_eq!(named("x.org:443", 8443), "x.org:443");
    }

    #[test]
    fn a_data_directory_has_one_service() {
        let data = tempfile::tempdir().unwrap();
        let first = lock(data.path()).unwrap();
        assert!(matches!(lock(data.path()), Err(ServiceError::InUse(_))));
        drop(first);
        lock(data.path()).unwrap();
    }
}
