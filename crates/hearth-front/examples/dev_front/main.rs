//! The front over a control plane without virtual machines, for the client suites under `tests/`.
//!
//! Prints one JSON line with its URL and keys, and serves until its standard input ends.

mod guest_doors;
mod memory_guests;
mod memory_host;
mod processes;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_control::account::{AccessKey, KeyStatus, SecretKey};
use hearth_control::arn::ManagedConnector;
use hearth_control::connector::RuleBook;
use hearth_control::endpoint::EndpointScheme;
use hearth_control::id::AccountId;
use hearth_control::image::{ManagedImage, ManagedStatus, ManagedVersion};
use hearth_control::policy::{Capacity, Policy, Quotas};
use hearth_control::store::SqliteStore;
use hearth_control::throttle::Rates;
use hearth_control::time::{Clock, SystemClock, Timestamp};
use hearth_control::{Control, ControlConfig};
use hearth_front::{
    ControlMetrics, Disks, EndpointTokens, Front, FrontConfig, FrontMetrics, FunctionKeys,
    FunctionLogs, FunctionSource, Grant, Holding, HoldingKind, Invocations, Keys, KnownHosts,
    MemoryShares, MetricsPage, MintError, PageTokens, SessionKey, Transport, serve,
};
use hearth_functions::{FunctionLimits, Functions};
use hearth_invoke::{
    Delays, EventQueue, EventQueueConfig, FixedMemory, Invoker, InvokerConfig, PoolLimits,
};
use hearth_logs::{LogLimits, LogStore};
use hearth_objects::ObjectStore;
use memory_guests::MemoryGuests;
use memory_host::MemoryHost;
use processes::Processes;
use tokio::net::TcpListener;

/// Connections at one time: small, so that a test can exceed it.
const MAX_CONNECTIONS: usize = 200;

/// Where it is measured as the service is: a tenth of that one's, so that who attacks needs no more descriptors than most have.
const MEASURED_CONNECTIONS: usize = 1000;

/// No host stands behind this: nothing but the account's quota limits launches.
const CAPACITY: Capacity = Capacity {
    resident_mib: u64::MAX,
    resident_microvms: u32::MAX,
    concurrent_builds: 4,
    builder_mib: 0,
};

/// Memory of all environments: processes take only what they use.
const FUNCTION_MEMORY_MB: u64 = 64 << 10;

/// How much faster events are tried again than on AWS.
const EVENTS_FASTER: u32 = 300;

const REGION: &str = "us-east-1";

/// One key for each of two accounts.
const KEYS: [(&str, &str, u64); 2] = [
    ("AKIAHEARTHTESTONE000", "first-secret", 0),
    ("AKIAHEARTHTESTTWO000", "second-secret", 111_111_111_111),
];

/// Whoever signs with this key has the handler of its request panic.
const PANICKING_KEY: &str = "AKIAHEARTHTESTPANIC0";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory =
        PathBuf::from(arguments.next().ok_or(
            "usage: dev_front DIRECTORY [--throttle | --few-requests | --as-the-service]",
        )?);
    let limits = arguments.next();
    let rates = match limits.as_deref() {
        Some("--throttle" | "--few-requests" | "--as-the-service") => Rates::default(),
        _ => Rates::unlimited(),
    };
    let max_connections = match limits.as_deref() {
        Some("--as-the-service") => MEASURED_CONNECTIONS,
        _ => MAX_CONNECTIONS,
    };
    let mut quotas = Quotas::default();
    if limits.as_deref() == Some("--few-requests") {
        // So few that a test exceeds them with some requests.
        (quotas.requests_per_second, quotas.request_burst) = (1, 5);
        quotas.log_events_per_second = 100;
    }
    let mut log_limits = LogLimits::default();
    if limits.is_some() {
        log_limits.account.events_per_second = quotas.log_events_per_second;
    }
    let control = Control::start(control_config(&directory, rates, quotas)?).await?;
    let mut page = MetricsPage::default();
    let metrics = FrontMetrics::register(&mut page.host);
    ControlMetrics::register(&mut page.host, control.clone());
    let sessions = SessionKey::new([2; 32]);
    let logs = Arc::new(LogStore::open(&directory.join("logs.db"), log_limits)?);
    let functions = Arc::new(Functions::open(
        &directory.join("functions"),
        FunctionLimits::default(),
    )?);
    let keys = FunctionKeys::new(control.clone(), sessions.clone());
    let invocations = invocations(&directory, Arc::new(keys), &logs, &functions).await?;
    let front = Front::new(FrontConfig {
        region: REGION.parse()?,
        control,
        keys: Arc::new(FixedKeys),
        sessions,
        logs,
        functions,
        invocations: Some(invocations),
        objects: Arc::new(ObjectStore::open(&directory.join("objects"))?),
        s3_elsewhere: None,
        endpoint_tokens: Arc::new(NoEndpoints),
        guests: Arc::new(MemoryGuests::default()),
        disks: Arc::new(NoDisks),
        pages: PageTokens::new([1; 32]),
        audit_log: directory.join("audit.log"),
        metrics,
        page: Arc::new(page),
        memory: MemoryShares::default(),
        metrics_shown_to: Some(KnownHosts::default()),
    })?;
    let front = Arc::new(front);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let doors = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    println!("{}", announcement(&address, doors.local_addr()?.port()));
    tokio::spawn(guest_doors::serve(Arc::clone(&front), doors));
    serve(
        front,
        listener,
        Transport::Loopback,
        hearth_http::Places::new(max_connections, &[]),
        stdin_end(),
    )
    .await?;
    Ok(())
}

/// Functions run as processes of this machine.
async fn invocations(
    directory: &Path,
    keys: Arc<FunctionKeys>,
    logs: &Arc<LogStore>,
    functions: &Arc<Functions>,
) -> Result<Invocations, Box<dyn Error>> {
    let mut limits = PoolLimits::default();
    if let Ok(idle_ms) = std::env::var("HEARTH_DEV_IDLE_MS") {
        limits.idle = Duration::from_millis(idle_ms.parse()?);
    }
    let invoker = Invoker::start(InvokerConfig {
        environments: Arc::new(Processes::new(&directory.join("environments"))),
        logs: Arc::new(FunctionLogs::new(Arc::clone(logs))),
        keys,
        memory: Arc::new(FixedMemory::new(FUNCTION_MEMORY_MB)),
        limits,
    })
    .await;
    let events = EventQueue::start(EventQueueConfig {
        path: directory.join("events.db"),
        delays: Delays::divided_by(EVENTS_FASTER),
        invoker: invoker.clone(),
        source: Arc::new(FunctionSource::new(Arc::clone(functions))),
    })?;
    Ok(Invocations { invoker, events })
}

/// Nothing is kept but one version.
struct NoDisks;

#[async_trait]
impl Disks for NoDisks {
    async fn holdings(&self) -> Result<Vec<Holding>, String> {
        Ok(vec![Holding {
            kind: HoldingKind::Version,
            name: "arn:aws:lambda:us-east-1:000000000000:microvm-image:hello".to_owned(),
            version: Some("1.0".to_owned()),
            guest_base: Some("6.12-a".to_owned()),
            base_images: None,
            is_current: None,
            bytes: 4096,
        }])
    }
}

fn announcement(address: &str, doors: u16) -> String {
    let keys: Vec<_> = KEYS
        .iter()
        .map(|(id, secret, account)| {
            serde_json::json!({"id": id, "secret": secret, "account": format!("{account:012}")})
        })
        .collect();
    serde_json::json!({"url": format!("http://{address}"), "region": REGION, "keys": keys, "doors": doors})
        .to_string()
}

async fn stdin_end() {
    // A thread that waits for the parent; it ends with the process.
    let _ =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
            .await;
}

fn control_config(
    directory: &Path,
    rates: Rates,
    quotas: Quotas,
) -> Result<ControlConfig, Box<dyn Error>> {
    let clock = SystemClock::start();
    // For the first account alone, as without more in the configuration.
    let names = |names: [&str; 2]| {
        let owned = names.map(|name| (name.to_owned(), [AccountId::FIRST].into()));
        owned.into()
    };
    Ok(ControlConfig {
        store: Arc::new(SqliteStore::open(&directory.join("control.db"))?),
        policy: Policy {
            quotas,
            capacity: CAPACITY,
            ..Policy::default()
        },
        rates,
        endpoints: EndpointScheme::Ports {
            host: "127.0.0.1".to_owned(),
            ports: 20_000..=29_999,
        },
        default_egress: ManagedConnector::InternetEgress,
        rules: RuleBook {
            subnets: names(["subnet-1", "subnet-2"]),
            security_groups: names(["sg-1", "sg-2"]),
        },
        managed_images: vec![managed_image(clock.now())?],
        chipset_generation: "v3".to_owned(),
        clock: Arc::new(clock),
        host: Arc::new(MemoryHost::default()),
    })
}

fn managed_image(now: Timestamp) -> Result<ManagedImage, Box<dyn Error>> {
    let version = |number, status| ManagedVersion {
        number,
        status,
        created_at: now,
        updated_at: now,
    };
    Ok(ManagedImage {
        name: "al2023-1".parse()?,
        created_at: now,
        updated_at: now,
        versions: vec![
            version(1, ManagedStatus::Available),
            version(0, ManagedStatus::Deprecated),
        ],
    })
}

/// The keys of the tests.
struct FixedKeys;

#[async_trait]
impl Keys for FixedKeys {
    async fn find(&self, access_key: &str) -> Option<AccessKey> {
        assert_ne!(
            access_key, PANICKING_KEY,
            "a test asks for a handler that panics"
        );
        let (id, secret, account) = KEYS.iter().find(|(id, ..)| *id == access_key)?;
        Some(AccessKey {
            id: id.parse().ok()?,
            secret: SecretKey::new((*secret).to_owned()),
            account: AccountId::from_number(*account)?,
            status: KeyStatus::Active,
            created_at: Timestamp::from_unix_ms(0),
        })
    }
}

/// Tokens that open nothing, since there is nothing to open.
struct NoEndpoints;

impl EndpointTokens for NoEndpoints {
    fn mint(&self, grant: &Grant) -> Result<String, MintError> {
        Ok(format!("{}..no.endpoint.here", grant.microvm))
    }
}
