//! What runs Lambda functions on this host: runtimes, disks of code, microVMs, logs, events.

use std::sync::Arc;

use hearth_control::Control;
use hearth_front::{FunctionKeys, FunctionLogs, FunctionSource, Invocations, SessionKey};
use hearth_functions::Functions;
use hearth_host::{EnvironmentOptions, HostEnvironments, LocalHost};
use hearth_image::{ArtifactLimits, CodeDisks, Runtimes};
use hearth_invoke::{
    Delays, EventQueue, EventQueueConfig, FixedMemory, Invoker, InvokerConfig, PoolLimits,
};
use hearth_logs::LogStore;
use hearth_net::Egress;

use crate::config::ServiceConfig;
use crate::error::{ServiceError, part};
use crate::platform;

/// Most bytes of code, or of all layers together, when unpacked: AWS's limit of both together, which the control plane
/// checks.
const CONTENT_BYTES: u64 = 262_144_000;

/// Most bytes of disks of code that no environment uses. They save a second or two at the next cold start.
const KEPT_BYTES: u64 = 4 << 30;

/// Unpacked size for each byte of a zip: the most that Deflate reaches. The unpacked size has a limit of its own.
const RATIO: u64 = 1032;

/// Part of the host's memory that environments may take together. The rest is that of microVMs.
const MEMORY_PARTS: u64 = 2;

/// Starts what runs functions. Environments of an earlier process are ended.
pub(crate) async fn open(
    config: &ServiceConfig,
    control: &Control,
    host: &LocalHost,
    stores: (&Arc<LogStore>, &Arc<Functions>),
    sessions: SessionKey,
) -> Result<Invocations, ServiceError> {
    let (logs, functions) = stores;
    let memory_mb = platform::capacity(config.hosting).resident_mib / MEMORY_PARTS;
    let invoker = Invoker::start(InvokerConfig {
        environments: Arc::new(environments(config, host)?),
        logs: Arc::new(FunctionLogs::new(Arc::clone(logs))),
        keys: Arc::new(FunctionKeys::new(control.clone(), sessions)),
        memory: Arc::new(FixedMemory::new(memory_mb)),
        limits: PoolLimits::default(),
    })
    .await;
    let events = EventQueue::start(EventQueueConfig {
        path: config.data.join("events.db"),
        delays: Delays::default(),
        invoker: invoker.clone(),
        source: Arc::new(FunctionSource::new(Arc::clone(functions))),
    });
    Ok(Invocations {
        invoker,
        events: events.map_err(part("the queue of events"))?,
    })
}

fn environments(
    config: &ServiceConfig,
    host: &LocalHost,
) -> Result<HostEnvironments, ServiceError> {
    let data = &config.data;
    let limits = ArtifactLimits {
        content_bytes: CONTENT_BYTES,
        ratio: RATIO,
        ..ArtifactLimits::default()
    };
    let disks = CodeDisks::open(data.join("code-disks"), limits, KEPT_BYTES);
    let base = &host.version_builder().base;
    let options = EnvironmentOptions {
        kernel: base.vmlinux(),
        initramfs: base.initramfs(),
        command_line: String::new(),
        runtimes: Runtimes::new(data.join("runtimes")),
        disks: disks.map_err(part("the disks of functions"))?,
        egress: Egress::internet(),
        has_boot_templates: config.has_boot_templates,
    };
    Ok(HostEnvironments::new(host.node().clone(), options))
}
